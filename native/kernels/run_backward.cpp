// Whole calls backward: chunk by chunk, from the last to the first.
#include <algorithm>
#include <cstring>

#include "kernels/chunk_plan.h"
#include "kernels/packed.h"
#include "kernels/plan.h"
#include "kernels/recompute.h"
#include "kernels/slstm_ends.h"
#include "kernels/table_rows.h"
#include "kernels/variant_memory.h"
#include "support/subnormals.h"
#include "support/threads.h"

namespace gatewright {

namespace {

template <class T, class S>
class BackwardPass {
  public:
    BackwardPass(const Kernels<T, S>& kernels, const BackwardCall<T, S>& call)
        : kernels_(kernels),
          call_(call),
          blocks_(blocks_of(call.sizes.H, kernels.width)),
          lanes_(blocks_ * kernels.width),
          plan_(plan_for(call.sizes, call.threads, split_for(call.variant, call.split), kGroup * kernels.width,
                         kOperandBytes<T, S>)),
          c_width_(call.variant.cell_rows() * call.sizes.H),
          zeros_(call.table ? std::max(call.sizes.P, c_width_) : 0),
          reset_(call.table ? reset_state<T>(call, cleared(zeros_)) : ResetState<T>{}),
          chunks_(call.table ? plan_chunks(call, reset_) : plan_chunks(call)),
          most_rows_(most_rows_of(chunks_)),
          packed_(kernels, call.sizes,
                  call.checkpoints || (!kPairs<S> && call.dx.data && call.sizes.D <= kNarrowInput), true,
                  static_cast<bool>(call.dx.data), call.dh_0 || call.table || call.steps.T > 1),
          dgates_row_(operands_of<Operand<S>>(4 * lanes_)),
          dprojected_row_(operands_of<Operand<S>>(call.sizes.P)),
          hidden_row_(operands_of<Operand<S>>(lanes_)),
          dgates_(2 * most_rows_ * dgates_row_),
          dW_ih_(call.dW_ih ? 4 * lanes_ * call.sizes.D : 0),
          dW_hh_(call.dW_hh ? 4 * lanes_ * call.sizes.P : 0),
          db_(call.db ? 4 * lanes_ : 0),
          dhidden_(call.sizes.projected ? call.sizes.B * call.sizes.H : 0),
          dh_(call.dh_0 && !ordered() ? 0 : call.sizes.B * call.sizes.P),
          dc_(call.dc_0 && !ordered() ? 0 : call.sizes.B * c_width_),
          averages_(call.variant.slstm ? call.sizes.B * call.sizes.H : 0),
          reset_averages_(call.variant.slstm && call.table && call.c_reset ? call.sizes.B * call.sizes.H : 0),
          dprojected_(call.sizes.projected ? 2 * most_rows_ * dprojected_row_ : 0),
          hidden_(call.sizes.projected ? 2 * most_rows_ * hidden_row_ : 0),
          pairs_(kPairs<S> ? (most_rows_ + 1) / 2 * pairs_width() : 0),
          x_rows_(gathered(&ChunkPlan<S>::x) * call.sizes.D),
          h_rows_(gathered(&ChunkPlan<S>::h) * call.sizes.P),
          wants_vectors_(wants_vectors(call)),
          vectors_(call.variant.gains || wants_vectors_ ? 2 * most_rows_ * lanes_ * 5 : 0),
          h_masked_(masks(call) ? 2 * most_rows_ * call.sizes.P : 0),
          dvectors_(wants_vectors_ ? kVectors * lanes_ : 0),
          carried_(call.variant.rate(Purpose::zoneout_hidden) > 0 ? call.sizes.B * call.sizes.P : 0),
          memory_(call.variant, call.sizes, lanes_, plan_.threads, call.checkpoints ? call.sizes.B : 1,
                  call.table),
          recompute_(call, packed_.panels(), reset_, plan_.threads, memory_) {
        b_.sizes = call.sizes;
        b_.steps = call.steps;
        b_.panels = packed_.panels();
        b_.x = call.x;
        b_.y = call.y;
        b_.h_0 = call.h_0;
        b_.c_0 = averages_.get() ? averages_.get() : call.c_0;
        b_.gates = recompute_ ? recompute_.gates() : call.gates;
        b_.cell = recompute_ ? recompute_.cell() : call.cell;
        b_.dy = call.dy;
        b_.dgates_in = call.dgates;
        b_.dcell_in = call.dcell;
        b_.dh = dh_.get() ? dh_.get() : call.dh_0;
        b_.dc = dc_.get() ? dc_.get() : call.dc_0;
        b_.dx = call.dx;
        b_.dpre = call.dpre;
        b_.dW_ih = dW_ih_.get();
        b_.dW_hh = dW_hh_.get();
        b_.dW_hr = call.dW_hr;
        b_.db = call.variant.gains ? nullptr : db_.get();
        b_.extra = recompute_ ? recompute_.extra() : call.extra;
        b_.carried = carried_.get();
        b_.dvectors = dvectors_.get();
        memory_.give(b_);
        for (std::size_t k = 0; h_masked_.get() && k < chunks_.size(); ++k)
            chunks_[k].h = {{h_masked_of(k), call.sizes.P, chunks_[k].rows}};
        b_.table = recompute_ ? recompute_.table() : call.table;
        b_.reset = reset_;
        if (reset_averages_.get()) b_.reset.c = reset_averages_.get(), b_.reset.c_row = call.sizes.H;
        b_.dh_reset = call.dh_reset;
        b_.dc_reset = call.dc_reset;
    }

    int threads() const { return plan_.threads; }

    // What one rank does; all ranks together.
    void work(int rank, Team& team) {
        const FlushSubnormals flush(kPairs<S>);
        const int size = team.size();
        start(rank, size);
        if (rank == 0) plan_.cut_rows(call_.steps, size);
        team.barrier();
        const Share share = plan_.share(rank, size, call_.sizes.B, blocks_, kGroup);
        Backward<T, S> mine = b_;
        for (int64_t k = static_cast<int64_t>(chunks_.size()) - 1; k >= 0; --k) {
            if (recompute_.due(chunks_[k].end))
                recompute_.run(kernels_, share, team, plan_.by_units, chunks_[k].begin, mine);
            Chunk<T, S> chunk = chunk_of(k);
            kernels_.adjoint(mine, chunk, share, plan_.by_units ? &team : nullptr);
            team.barrier();
            if (chunk.rows == 0) continue;
            if constexpr (kPairs<S>) {
                kernels_.pair_rows(mine, chunk, rank, size);
                team.barrier();
            } else if (call_.table) {
                Segment<In> x, h;
                const bool some =
                    gather(chunk.x, chunk.x_count, chunk.rows, x_rows_.get(), call_.sizes.D, x, rank, size) |
                    gather(chunk.h, chunk.h_count, chunk.rows, h_rows_.get(), call_.sizes.P, h, rank, size);
                if (some) team.barrier();
                kernels_.products(mine, chunk, rank, size);
                continue;
            }
            kernels_.products(mine, chunk, rank, size);
        }
        team.barrier();
        const bool normed = call_.variant.gains != nullptr;
        kernels_.unpack(b_, call_.dW_ih, call_.dW_hh, normed ? nullptr : call_.db, rank, size);
        if (wants_vectors_) {
            VariantGradients<T> vectors = call_.d_variant;
            vectors.bias = normed ? call_.db : nullptr;
            kernels_.unpack_vectors(b_, vectors, rank, size);
        }
        const Sizes& n = call_.sizes;
        const int64_t begin = n.B * rank / size, end = n.B * (rank + 1) / size;
        if (call_.variant.slstm) SlstmEnds<T, S>(call_, b_.dc).end(begin, end);
        if (!call_.table) return;
        clear_absent(call_, begin, end);
        if (!ordered()) return;
        scatter_rows(*call_.table, call_.dh_0, b_.dh, n.P, begin, end);
        scatter_rows(*call_.table, call_.dc_0, b_.dc, c_width_, begin, end);
    }

  private:
    using In = typename Stored<S>::In;

    const Kernels<T, S>& kernels_;
    const BackwardCall<T, S>& call_;
    const int64_t blocks_, lanes_;
    Plan plan_;
    const int64_t c_width_;  // numbers of a row's cell state
    const Workspace<T> zeros_;
    const ResetState<T> reset_;
    std::vector<ChunkPlan<S>> chunks_;
    const int64_t most_rows_;  // of a chunk
    const Packed<T, S> packed_;
    const int64_t dgates_row_, dprojected_row_, hidden_row_;  // operands
    const Workspace<Operand<S>> dgates_;
    const Workspace<T> dW_ih_, dW_hh_, db_, dhidden_, dh_, dc_;
    const Workspace<T> averages_, reset_averages_;  // with the sLSTM, c / n of c_0 and c_reset
    const Workspace<Operand<S>> dprojected_, hidden_, pairs_;
    const Workspace<S> x_rows_, h_rows_;  // of a chunk, where these stand in many pieces
    const bool wants_vectors_;
    const Workspace<T> vectors_, h_masked_, dvectors_, carried_;
    const VariantMemory<T> memory_;
    const Recompute<T, S> recompute_;
    Backward<T, S> b_{};

    // Whether rows of the walk are in another order than those of the call.
    bool ordered() const { return call_.table && call_.table->order; }

    const T* cleared(const Workspace<T>& zeros) const {
        std::fill_n(zeros.get(), std::max(call_.sizes.P, c_width_), T(0));
        return zeros.get();
    }

    // Whether the rows of a chunk are copied side by side before products: where their pieces are short.
    static bool in_pieces(int64_t pieces, int64_t rows) { return !kPairs<S> && pieces * 8 > rows; }

    // Rows of memory that this takes.
    int64_t gathered(std::vector<Segment<In>> ChunkPlan<S>::* rows) const {
        if (!call_.table) return 0;
        return std::any_of(chunks_.begin(), chunks_.end(),
                           [&](const auto& chunk) { return in_pieces((chunk.*rows).size(), chunk.rows); })
                   ? most_rows_
                   : 0;
    }

    // This rank's part of it, which leaves one segment; whether there was anything to do.
    static bool gather(const Segment<In>*& segments, int64_t& count, int64_t rows, S* memory, int64_t width,
                       Segment<In>& whole, int rank, int size) {
        if (!in_pieces(count, rows)) return false;
        const int64_t begin = rows * rank / size, end = rows * (rank + 1) / size;
        int64_t at = 0;
        for (const Segment<In>* each = segments; each != segments + count; ++each)
            for (int64_t n = 0; n < each->count; ++n, ++at)
                if (at >= begin && at < end)
                    std::memcpy(memory + at * width, address(each->data + n * each->row), width * sizeof(S));
        whole = {memory, width, rows};
        segments = &whole;
        count = 1;
        return true;
    }

    // Weights, sums at zero, and the adjoint of the last state: this rank's part of them.
    void start(int rank, int size) const {
        const Sizes& n = call_.sizes;
        packed_.pack(call_.weights, rank, size);
        const auto zero = [&](T* data, int64_t count) {
            if (data) copy_or_zero<T>(data, nullptr, count * rank / size, count * (rank + 1) / size);
        };
        if (chunks_.empty() || chunks_.back().rows == 0) {  // else the first chunk writes them
            zero(b_.dW_ih, 4 * lanes_ * n.D);
            zero(b_.dW_hh, 4 * lanes_ * n.P);
            zero(b_.db, 4 * lanes_);
        }
        zero(b_.dW_hr, n.P * n.H);
        zero(b_.dvectors, kVectors * lanes_);
        const int64_t begin = n.B * rank / size, end = n.B * (rank + 1) / size;
        zero(call_.dh_reset, n.B * n.P);
        zero(call_.dc_reset, n.B * c_width_);
        memory_.draw_mask(kernels_, n.P, begin, end, rank);
        if (ordered())
            gather_rows(*call_.table, b_.dh, call_.dh_n, n.P, begin, end);
        else
            copy_or_zero(b_.dh, call_.dh_n, begin * n.P, end * n.P);
        if (call_.variant.slstm) {
            average_rows(averages_.get(), call_.c_0, n.H, begin, end);
            if (reset_averages_.get()) average_rows(reset_averages_.get(), call_.c_reset, n.H, begin, end);
            SlstmEnds<T, S>(call_, b_.dc).begin(begin, end);
        } else if (ordered()) {
            gather_rows(*call_.table, b_.dc, call_.dc_n, n.H, begin, end);
        } else {
            copy_or_zero(b_.dc, call_.dc_n, begin * n.H, end * n.H);
        }
    }

    static bool masks(const BackwardCall<T, S>& call) {
        return call.dW_hh && call.variant.drawn(Purpose::hidden_dropout);
    }
    static bool wants_vectors(const BackwardCall<T, S>& call) {
        return call.d_variant.peepholes || call.d_variant.gains || (call.variant.gains && call.db);
    }
    T* h_masked_of(int64_t k) const {
        return h_masked_.get() ? h_masked_.get() + k % 2 * most_rows_ * call_.sizes.P : nullptr;
    }

    // Two buffers in turn, so that adjoints of the next chunk need not wait for products of this one.
    Chunk<T, S> chunk_of(int64_t k) const {
        const ChunkPlan<S>& plan = chunks_[k];
        const int64_t first = k % 2 * most_rows_;
        return {plan.begin,
                plan.end,
                plan.rows,
                plan.first.data(),
                dgates_.get() + first * dgates_row_,
                dhidden_.get(),
                dprojected_.get() ? dprojected_.get() + first * dprojected_row_ : nullptr,
                hidden_.get() ? hidden_.get() + first * hidden_row_ : nullptr,
                plan.x.data(),
                plan.h.data(),
                static_cast<int64_t>(plan.x.size()),
                static_cast<int64_t>(plan.h.size()),
                pairs_of(plan.rows),
                vectors_.get() ? vectors_.get() + first * lanes_ * 5 : nullptr,
                h_masked_of(k)};
    }

    // Operands of a pair of rows, all kinds together.
    int64_t pairs_width() const {
        const Sizes& n = call_.sizes;
        return 4 * lanes_ + n.D + n.P + (n.projected ? n.P + lanes_ : 0);
    }

    RowPairs pairs_of(int64_t rows) const {
        if constexpr (kPairs<S>) {
            const Sizes& n = call_.sizes;
            const int64_t count = (rows + 1) / 2;
            uint32_t* const dgates = pairs_.get();
            uint32_t* const x = dgates + count * 4 * lanes_;
            uint32_t* const h = x + count * n.D;
            uint32_t* const dprojected = h + count * n.P;
            return {count, dgates, x, h, dprojected, dprojected + count * n.P};
        } else {
            return {};
        }
    }
};

}  // namespace

template <class T, class S>
void run_backward(const Kernels<T, S>& kernels, const BackwardCall<T, S>& call) {
    BackwardPass<T, S> pass(kernels, call);
    run_team(pass.threads(), [&](int rank, Team& team) { pass.work(rank, team); });
}

template void run_backward(const Kernels<float>&, const BackwardCall<float>&);
template void run_backward(const Kernels<double>&, const BackwardCall<double>&);
template void run_backward(const Kernels<float, BFloat16>&, const BackwardCall<float, BFloat16>&);

}  // namespace gatewright
