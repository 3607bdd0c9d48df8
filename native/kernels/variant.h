// The contract of a cell other than the plain one: its equations by flags, its further weights, its random
// numbers.
#pragma once

#include <cstdint>

#include "kernels/storage.h"

namespace gatewright {

// sigmoid or tanh; its piecewise linear form, clip(x / 6 + 1 / 2, 0, 1) or clip(x, -1, 1); x itself.
enum class Activation { smooth, hard, identity };

// What a factor of each unit is drawn for.
enum class Purpose { zoneout_cell, zoneout_hidden, hidden_dropout, candidate_dropout };
constexpr int kPurposes = 4;

// Random numbers by Philox4x32-10 (Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3): key `seed`,
// counter (step, row, unit / 4, stream + purpose), word unit % 4.
struct Draws {
    bool wanted;  // else expectations
    uint64_t seed;
    const int64_t* rows;  // (B), the numbers of the rows; null: 0, 1, ...
    int64_t first_step;   // number of time 0
    uint32_t stream;      // of layer and direction

    GATEWRIGHT_INLINE int64_t row(int64_t b) const { return rows ? rows[b] : b; }
};

// All at its default: the plain cell, by code of its own.  Weights of gates are in rows of H, in the order i f g
// o; those of a gate that is not there are never read for a result, and get zeros for gradients.
//
//   pre = W_ih x + W_hh h, with layer norm each gate normalised over its units, times its gain; then + bias
//   i f read c, o reads c', by peepholes; coupled: i = 1 - f; a gate that is not there is 1
//   c' = clip(f c + i g) or, zoned out, c          h' = o a(c' or its norm), or h
template <class T>
struct Variant {
    bool general;  // whether anything below is not at its default
    bool slstm;    // the cell of slstm_cell.h, which of what follows has draws and rates of hidden dropout
    bool exponential_forget;  // with that
    bool coupled, no_input_gate, no_forget_gate, no_output_gate;
    Activation gate, candidate, output;
    const T* peepholes;  // (3, H), of i f o; or null
    const T* gains;      // (4, H), those of layer norm; null: none
    const T* cell_gain;  // (H), of the norm of c; with gains
    const T* cell_bias;  // (H), with gains
    const T* bias;       // (blocks, 4, V), with gains, where panels have a bias of zero
    const T* clamps;     // (4, H): where not NaN, what a gate is after activation; or null
    double cell_clip;    // 0: none
    double rates[kPurposes];
    Draws draws;

    GATEWRIGHT_INLINE double rate(Purpose purpose) const { return rates[static_cast<int>(purpose)]; }
    GATEWRIGHT_INLINE bool drawn(Purpose purpose) const { return draws.wanted && rate(purpose) > 0; }
    // Whether h that is carried is another than what products read, in full width.
    GATEWRIGHT_INLINE bool keeps_hidden() const {
        return rate(Purpose::zoneout_hidden) > 0 || drawn(Purpose::hidden_dropout);
    }
    // How many rows of H numbers its cell state has.
    GATEWRIGHT_INLINE int64_t cell_rows() const { return slstm ? 3 : 1; }
};

// What layer norm keeps of a row at a step: the gates before gain and bias (4H), and of i f g o the factor by
// which they were normalised; of c its mean and its factor.
constexpr int64_t kNormNumbers = 6;
GATEWRIGHT_INLINE constexpr int64_t norm_width(int64_t H) { return 4 * H + kNormNumbers; }

// Gradients of one block's vectors, in this order, (V) each: peepholes i f o; with layer norm the gains of i f g
// o, gain and bias of c, and the biases of i f g o.
constexpr int kPeepholeVectors = 3, kVectors = 13;

// The same in the layouts of `Variant`; null: not wanted.
template <class T>
struct VariantGradients {
    T *peepholes, *gains, *cell_gain, *cell_bias;
    T* bias;  // (4, H), with layer norm
};

}  // namespace gatewright
