// Whole calls backward: chunk by chunk, from the last to the first.
#include <algorithm>
#include <cstring>

#include "kernels/packed.h"
#include "kernels/plan.h"
#include "kernels/slstm_ends.h"
#include "kernels/table_rows.h"
#include "kernels/variant_memory.h"
#include "support/subnormals.h"
#include "support/threads.h"

namespace gatewright {

namespace {

// Chunks of a backward pass with what they need to know about their rows.
template <class S>
struct ChunkPlan {
    using In = typename Stored<S>::In;

    int64_t begin, end, rows;
    std::vector<int64_t> first;
    std::vector<Segment<In>> x, h;
};

template <class In>
void append(std::vector<Segment<In>>& segments, In data, int64_t row, int64_t count) {
    if (count == 0) return;
    if (!segments.empty()) {
        Segment<In>& last = segments.back();
        if (last.row == row && data == last.data + last.count * row) {
            last.count += count;
            return;
        }
    }
    segments.push_back({data, row, count});
}

template <class T, class S>
ChunkPlan<S> plan_chunk(const BackwardCall<T, S>& call, int64_t begin, int64_t end) {
    using In = typename Stored<S>::In;
    const Steps& steps = call.steps;
    const int64_t sign = steps.reverse ? -1 : 1;
    // With one row a step, the distance between rows is that between steps.
    const bool single = steps.B == 1 && !steps.starts;
    const int64_t x_row = single ? sign * call.x.step : call.x.row,
                  y_row = single ? sign * call.y.step : call.y.row;
    ChunkPlan<S> plan{begin, end, 0, {0}, {}, {}};
    for (int64_t s = begin; s < end; ++s) {
        const int64_t t = steps.time(s), rows = steps.rows(t);
        plan.rows += rows;
        plan.first.push_back(plan.rows);
        append(plan.x, call.x.at(steps, t, 0), x_row, rows);
        if (s == 0) {
            append(plan.h, In(call.h_0), call.sizes.P, rows);
            continue;
        }
        const int64_t before = steps.time(s - 1), there = std::min(rows, steps.rows(before));
        append(plan.h, call.y.at(steps, before, 0), y_row, there);
        append(plan.h, In(call.h_0 + there * call.sizes.P), call.sizes.P, rows - there);
    }
    return plan;
}

// The same of a table, row by row: a step stands where the table says, and h before it may be the reset state.
template <class T, class S>
ChunkPlan<S> plan_chunk(const BackwardCall<T, S>& call, const ResetState<T>& reset, int64_t begin, int64_t end) {
    using In = typename Stored<S>::In;
    const Steps& steps = call.steps;
    const StepTable& table = *call.table;
    const Sizes& n = call.sizes;
    const auto place = [&](int64_t s, int64_t row) {
        if (table.places) return table.places[steps.start(s) + row];
        return Place{static_cast<int32_t>(steps.time(s)), static_cast<int32_t>(row)};
    };
    ChunkPlan<S> plan{begin, end, 0, {0}, {}, {}};
    for (int64_t s = begin; s < end; ++s) {
        const int64_t t = steps.time(s), rows = steps.rows(t);
        plan.rows += rows;
        plan.first.push_back(plan.rows);
        for (int64_t row = 0; row < rows; ++row) {
            const Place here = place(s, row);
            append(plan.x, call.x.at(here), call.x.row, 1);
            if (table.before && table.before[steps.start(t) + row] & kCut)
                append(plan.h, In(reset.h + here.b * reset.h_row), reset.h_row, 1);
            else if (s == 0)
                append(plan.h, In(call.h_0 + here.b * n.P), n.P, 1);
            else
                append(plan.h, call.y.at(place(s - 1, row)), call.y.row, 1);
        }
    }
    return plan;
}

// Chunks of about as many rows as there are without a table, and none across a checkpoint.
template <class T, class S>
std::vector<ChunkPlan<S>> plan_chunks(const BackwardCall<T, S>& call, const ResetState<T>& reset) {
    const int64_t most = chunk_steps(call.sizes, kOperandBytes<T, S>) * std::max<int64_t>(call.sizes.B, 1);
    const Steps& steps = call.steps;
    std::vector<ChunkPlan<S>> chunks;
    for (int64_t begin = 0, end; begin < steps.T; begin = end) {
        int64_t rows = steps.rows(steps.time(begin));
        for (end = begin + 1; end < steps.T; ++end) {
            rows += steps.rows(steps.time(end));
            if (rows > most || (call.checkpoints && end % call.every == 0)) break;
        }
        chunks.push_back(plan_chunk(call, reset, begin, end));
    }
    if (chunks.empty()) chunks.push_back({0, 0, 0, {0}, {}, {}});  // gradients still go from the end to the start
    return chunks;
}

template <class T, class S>
std::vector<ChunkPlan<S>> plan_chunks(const BackwardCall<T, S>& call) {
    const int64_t steps = chunk_steps(call.sizes, kOperandBytes<T, S>);
    std::vector<ChunkPlan<S>> chunks;
    for (int64_t begin = 0; begin < call.steps.T; begin += steps)
        chunks.push_back(plan_chunk(call, begin, std::min(call.steps.T, begin + steps)));
    return chunks;
}

template <class S>
int64_t most_rows_of(const std::vector<ChunkPlan<S>>& chunks) {
    int64_t most = 0;
    for (const ChunkPlan<S>& chunk : chunks) most = std::max(most, chunk.rows);
    return most;
}

// What a backward pass with checkpoints computes again, a segment at a time.
template <class T, class S>
class Recompute {
  public:
    Recompute(const BackwardCall<T, S>& call, const Panels<T, PanelElement<T, S>>& panels,
              const ResetState<T>& reset, int threads, const VariantMemory<T>& memory)
        : call_(call),
          memory_(memory),
          steps_(call.checkpoints ? std::min(call.every, call.steps.T) : 0),
          width_(operands_of<Operand<S>>(call.sizes.P)),
          kept_(steps_ * call.sizes.B * 5 * call.sizes.H * kept_bytes(call)),
          before_(kPairs<S> && call.narrow_kept && steps_ ? call.sizes.B * call.sizes.H : 0),
          averages_(steps_ && call.variant.slstm ? call.sizes.B * call.sizes.H : 0),
          c_width_(call.variant.cell_rows() * call.sizes.H),
          c_(steps_ ? call.sizes.B * c_width_ : 0),
          h_(steps_ ? 2 * call.sizes.B * width_ : 0),
          hidden_(steps_ && call.sizes.projected ? call.sizes.B * operands_of<Operand<S>>(call.sizes.H) : 0),
          operands_((kPairs<S> || call.table) && steps_ ? threads * operands_size() : 0),
          state_(steps_ && call.variant.keeps_hidden() ? call.sizes.B * call.sizes.P : 0),
          extra_(steps_ && call.variant.gains ? steps_ * call.sizes.B * norm_width(call.sizes.H) : 0) {
        if (!steps_) return;
        const Sizes& n = call.sizes;
        f_.sizes = n;
        f_.steps = call.steps;
        f_.panels = panels;
        f_.x = call.x;
        f_.h[0] = h_.get();
        f_.h[1] = h_.get() + n.B * width_;
        f_.c = c_.get();
        f_.gates = kept();
        f_.cell = f_.gates + steps_ * n.B * 4 * n.H;
        f_.hidden = hidden_.get();
        f_.operands = operands_.get();
        f_.operands_size = operands_size();
        f_.h_last = state_.get();
        f_.variant = call.variant;
        f_.extra = extra_.get();
        memory.give(f_);
        if (!call.table) return;
        table_ = *call.table;
        table_.kept_in_place = false;
        f_.table = &table_;
        f_.reset = reset;
    }
    Recompute(const Recompute&) = delete;
    Recompute& operator=(const Recompute&) = delete;

    explicit operator bool() const { return steps_ > 0; }
    const StepTable* table() const { return f_.table; }
    typename Stored<S>::In gates() const { return f_.gates; }
    typename Stored<S>::In cell() const { return f_.cell; }
    const T* extra() const { return f_.extra; }

    // Whether the segment of the steps before `end` has yet to be computed.
    bool due(int64_t end) const { return steps_ > 0 && (end == call_.steps.T || end % steps_ == 0); }

    // Computes the segment of a step, and says where b finds it; all ranks together.
    void run(const Kernels<T, S>& kernels, const Share& share, Team& team, bool by_units, int64_t step,
             Backward<T, S>& b) const {
        const Sizes& n = call_.sizes;
        const Steps& steps = call_.steps;
        Forward<T, S> part = f_;
        part.begin = step / steps_ * steps_;
        part.end = std::min(part.begin + steps_, steps.T);
        part.saved = steps.start(steps.reverse ? steps.time(part.end - 1) : part.begin);
        const T* const c = call_.checkpoints + part.begin / call_.every * n.B * c_width_;
        b.first = part.begin;
        b.c_before = averages_.get() ? averages_.get() : c;
        if constexpr (kPairs<S>)
            if (call_.narrow_kept) b.c_before = before_.get();
        b.saved = part.saved;
        team.barrier();
        set_state(kernels, share, part.begin, c);
        team.barrier();
        kernels.forward(part, share, by_units ? &team : nullptr);
        team.barrier();
    }

  private:
    const BackwardCall<T, S>& call_;
    const VariantMemory<T>& memory_;
    const int64_t steps_;  // of a segment; 0 without checkpoints
    const int64_t width_;  // operands of a row of h
    const Workspace<std::byte> kept_;
    const Workspace<BFloat16> before_;  // c before a segment, or c / n, rounded as what is kept
    const Workspace<T> averages_;       // with the sLSTM, c / n before a segment
    const int64_t c_width_;
    const Workspace<T> c_;
    const Workspace<Operand<S>> h_, hidden_, operands_;
    const Workspace<T> state_, extra_;
    Forward<T, S> f_{};
    StepTable table_{};

    static int64_t kept_bytes(const BackwardCall<T, S>& call) {
        return kPairs<S> && call.narrow_kept ? sizeof(BFloat16) : sizeof(T);
    }
    typename Stored<S>::Out kept() const {
        if constexpr (kPairs<S>)
            return {kept_.get(), call_.narrow_kept};
        else
            return reinterpret_cast<T*>(kept_.get());
    }
    int64_t operands_size() const { return call_.sizes.B * operands_of<Operand<S>>(call_.sizes.D); }

    // h and c (B, H) before step `begin`, for this rank's part of all rows.
    void set_state(const Kernels<T, S>& kernels, const Share& share, int64_t begin, const T* c) const {
        const Sizes& n = call_.sizes;
        const int64_t first = n.B * share.rank / share.size, last = n.B * (share.rank + 1) / share.size;
        copy_or_zero(f_.c, c, first * c_width_, last * c_width_);
        if (averages_.get()) {
            average_rows(averages_.get(), c, n.H, first, last);
            c = averages_.get();
        }
        if (before_.get())
            for (int64_t k = first * n.H; k < last * n.H; ++k) before_.get()[k] = to_bfloat16(c[k]);
        for (int64_t b = first; b < last; ++b) {
            typename Stored<S>::In h = call_.h_0 + (f_.table ? table_.caller(b) : b) * n.P;
            kernels.operands(memory_.masked_row(h, b, n.P), n.P, n.P, f_.h[1 - begin % 2] + b * width_, 1);
            if (begin > 0 && b < call_.steps.rows(call_.steps.time(begin - 1)))
                h = f_.table && table_.places ? call_.y.at(table_.places[call_.steps.start(begin - 1) + b])
                                              : call_.y.at(call_.steps, call_.steps.time(begin - 1), b);
            kernels.operands(memory_.masked_row(h, b, n.P), n.P, n.P, f_.h[begin % 2] + b * width_, 1);
            for (int64_t k = 0; state_.get() && k < n.P; ++k) state_.get()[b * n.P + k] = value_of<T>(h + k);
        }
    }
};

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
          zeros_(call.table ? std::max(call.sizes.P, call.sizes.H) : 0),
          reset_(call.table ? reset_state<T>(call, cleared(zeros_, call)) : ResetState<T>{}),
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
          c_width_(call.variant.cell_rows() * call.sizes.H),
          dc_(call.dc_0 && !ordered() ? 0 : call.sizes.B * c_width_),
          averages_(call.variant.slstm ? call.sizes.B * call.sizes.H : 0),
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
          memory_(call.variant, call.sizes, lanes_, plan_.threads, call.checkpoints ? call.sizes.B : 1),
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
        b_.variant = call.variant;
        b_.extra = recompute_ ? recompute_.extra() : call.extra;
        b_.carried = carried_.get();
        b_.dvectors = dvectors_.get();
        memory_.give(b_);
        for (std::size_t k = 0; h_masked_.get() && k < chunks_.size(); ++k)
            chunks_[k].h = {{h_masked_of(k), call.sizes.P, chunks_[k].rows}};
        b_.table = recompute_ ? recompute_.table() : call.table;
        b_.reset = reset_;
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
        if (call_.variant.slstm && call_.steps.T > 0) end_adjoint(b_.dc, call_.c_0, n.H, begin, end);
        if (!call_.table) return;
        clear_absent(call_, begin, end);
        if (!ordered()) return;
        scatter_rows(*call_.table, call_.dh_0, b_.dh, n.P, begin, end);
        scatter_rows(*call_.table, call_.dc_0, b_.dc, n.H, begin, end);
    }

  private:
    using In = typename Stored<S>::In;

    const Kernels<T, S>& kernels_;
    const BackwardCall<T, S>& call_;
    const int64_t blocks_, lanes_;
    Plan plan_;
    const Workspace<T> zeros_;
    const ResetState<T> reset_;
    std::vector<ChunkPlan<S>> chunks_;
    const int64_t most_rows_;  // of a chunk
    const Packed<T, S> packed_;
    const int64_t dgates_row_, dprojected_row_, hidden_row_;  // operands
    const Workspace<Operand<S>> dgates_;
    const Workspace<T> dW_ih_, dW_hh_, db_, dhidden_, dh_;
    const int64_t c_width_;
    const Workspace<T> dc_, averages_;  // c / n of c_0
    const Workspace<Operand<S>> dprojected_, hidden_, pairs_;
    const Workspace<S> x_rows_, h_rows_;  // of a chunk, where these stand in many pieces
    const bool wants_vectors_;
    const Workspace<T> vectors_, h_masked_, dvectors_, carried_;
    const VariantMemory<T> memory_;
    const Recompute<T, S> recompute_;
    Backward<T, S> b_{};

    // Whether rows of the walk are in another order than those of the call.
    bool ordered() const { return call_.table && call_.table->order; }

    static const T* cleared(const Workspace<T>& zeros, const BackwardCall<T, S>& call) {
        std::fill_n(zeros.get(), std::max(call.sizes.P, call.sizes.H), T(0));
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
        zero(call_.dc_reset, n.B * n.H);
        if (ordered()) {
            gather_rows(*call_.table, b_.dh, call_.dh_n, n.P, begin, end);
            gather_rows(*call_.table, b_.dc, call_.dc_n, n.H, begin, end);
            return;
        }
        copy_or_zero(b_.dh, call_.dh_n, begin * n.P, end * n.P);
        if (averages_.get()) average_rows(averages_.get(), call_.c_0, n.H, begin, end);
        if (call_.variant.slstm && call_.steps.T > 0)
            begin_adjoint(b_.dc, call_.dc_n, call_.c_n, n.H, begin, end);
        else
            copy_or_zero(b_.dc, call_.dc_n, begin * c_width_, end * c_width_);
        memory_.draw_mask(kernels_, call_.variant, n.P, begin, end, rank);
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
