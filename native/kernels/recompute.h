// Backward with checkpoints: each segment between two of them is computed again when its turn comes.
#pragma once

#include <algorithm>

#include "kernels/packed.h"
#include "kernels/slstm_ends.h"
#include "kernels/variant_memory.h"
#include "support/threads.h"

namespace gatewright {

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

}  // namespace gatewright
