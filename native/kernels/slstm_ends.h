// What the adjoint of the sLSTM (slstm_cell.h) needs at the ends of a sequence: averages of a state, and the
// adjoint of c, n, m as that of the average, of l = m + log n and of what else m counts for; and back.
#pragma once

#include "kernels/packed.h"

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

// From dc, dn, dm of a state, at its end, to da, dl and the rest.
template <class T>
void begin_adjoint(T* to, const T* d, const T* state, int64_t H, int64_t begin, int64_t end) {
    if (!d) return copy_or_zero<T>(to, nullptr, begin * 3 * H, end * 3 * H);
    for (int64_t b = begin; b < end; ++b)
        for (int64_t at = b * 3 * H; at < b * 3 * H + H; ++at) {
            const T c = state[at], n = state[at + H], dl = d[at] * c + d[at + H] * n;
            to[at] = d[at] * n;
            to[at + H] = dl;
            to[at + 2 * H] = d[at + 2 * H] - dl;
        }
}

// From da, dl and the rest to dc, dn, dm, in place; zeros where nothing was read yet.
template <class T>
void end_adjoint(T* d, const T* state, int64_t H, int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
        for (int64_t at = b * 3 * H; at < b * 3 * H + H; ++at) {
            const T c = state[at], n = state[at + H], da = d[at], dl = d[at + H], rest = d[at + 2 * H];
            d[at] = n == 0 ? 0 : da / n;
            d[at + H] = n == 0 ? 0 : (dl - da * (c / n)) / n;
            d[at + 2 * H] = n == 0 ? 0 : dl + rest;
        }
}

}  // namespace gatewright
