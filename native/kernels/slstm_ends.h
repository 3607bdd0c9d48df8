// What the adjoint of the sLSTM (slstm_cell.h) needs at the ends of a row: averages of a state, and the adjoint of
// c, n, m as that of the average, of l = m + log n and of what else m counts for; and back.
#pragma once

#include "kernels/packed.h"
#include "kernels/sequence.h"

namespace gatewright {

// c / n of rows begin .. end - 1 of a state, (B, 3, H); 0 where nothing was read yet, and of null.
template <class T>
void average_rows(T* to, const T* state, int64_t H, int64_t begin, int64_t end) {
    if (!state) return copy_or_zero<T>(to, nullptr, begin * H, end * H);
    for (int64_t b = begin; b < end; ++b)
        for (int64_t k = 0; k < H; ++k) {
            const T c = state[b * 3 * H + k], n = state[(b * 3 + 1) * H + k];
            to[b * H + k] = n == 0 ? 0 : c / n;
        }
}

// From dc, dn, dm of a row's state to da, dl and the rest.
template <class T>
void to_averages(T* to, const T* d, const T* state, int64_t H) {
    for (int64_t k = 0; k < H; ++k) {
        const T c = state[k], n = state[H + k], dl = d[k] * c + d[H + k] * n;
        to[k] = d[k] * n;
        to[H + k] = dl;
        to[2 * H + k] = d[2 * H + k] - dl;
    }
}

// And back, in place: zeros where nothing was read yet.
template <class T>
void from_averages(T* d, const T* state, int64_t H) {
    for (int64_t k = 0; k < H; ++k) {
        const T c = state[k], n = state[H + k], da = d[k], dl = d[H + k], rest = d[2 * H + k];
        d[k] = n == 0 ? 0 : da / n;
        d[H + k] = n == 0 ? 0 : (dl - da * (c / n)) / n;
        d[2 * H + k] = n == 0 ? 0 : dl + rest;
    }
}

// The adjoint of the states of a call at both ends of some rows of its walk; dc (B, 3, H) is that of the walk.
template <class T, class S>
class SlstmEnds {
  public:
    SlstmEnds(const BackwardCall<T, S>& call, T* dc) : call_(call), dc_(dc), width_(3 * call.sizes.H) {}

    void begin(int64_t first, int64_t last) const {
        for (int64_t row = first; row < last; ++row) {
            const int64_t b = caller(row) * width_;
            if (!call_.dc_n || is_given(row))
                copy_or_zero<T>(dc_ + row * width_, nullptr, 0, width_);
            else
                to_averages(dc_ + row * width_, call_.dc_n + b, call_.c_n + b, call_.sizes.H);
        }
    }
    void end(int64_t first, int64_t last) const {
        for (int64_t row = first; row < last; ++row) {
            const int64_t b = caller(row) * width_;
            T* const dc_reset = call_.dc_reset ? call_.dc_reset + b : nullptr;
            from_averages(dc_ + row * width_, call_.c_0 + b, call_.sizes.H);
            if (dc_reset) from_averages(dc_reset, call_.c_reset + b, call_.sizes.H);
            if (!call_.dc_n || !is_given(row)) continue;
            T* const to = is_cut(row) ? dc_reset : dc_ + row * width_;
            for (int64_t k = 0; to && k < width_; ++k) to[k] += call_.dc_n[b + k];
        }
    }

  private:
    const BackwardCall<T, S>& call_;
    T* const dc_;
    const int64_t width_;

    int64_t caller(int64_t row) const { return call_.table ? call_.table->caller(row) : row; }
    // Whether the last state of a row is the reset state.
    bool is_cut(int64_t row) const {
        return call_.table && call_.table->after && (call_.table->after[row] & kCut) != 0;
    }
    // Whether it is a state that was given: there is no step between, and the adjoint stays what it is.
    bool is_given(int64_t row) const { return is_cut(row) || call_.steps.T == 0 || row >= call_.steps.rows(0); }
};

}  // namespace gatewright
