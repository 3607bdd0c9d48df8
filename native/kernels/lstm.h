// The contract: what every entry of the kernels is given, with shape, layout and aliasing of each pointer.
//
// Sizes: T steps, B rows of the batch, D input, H hidden, P width of the hidden state (H unless it is projected).
// Gates stand in PyTorch's order i, f, g, o.  All counts and strides are in elements, int64.
// No two pointers of one call may overlap unless said; inputs are never written.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/step_table.h"
#include "kernels/storage.h"
#include "kernels/variant.h"

namespace gatewright {

struct Sizes {
    int64_t T, B, D, H, P;
    bool projected;    // P is given by W_hr; else P == H
    int64_t head = 0;  // with the sLSTM, units of a head, where W_hh (4H, head) is block diagonal; 0: it is whole

    // Numbers of h that a gate reads.
    GATEWRIGHT_INLINE int64_t read() const { return head ? head : P; }
};

// Which rows have a step at each time, and in which order time is walked.
// Rows are ordered by length, longest first, so those with a step at time t are 0 .. rows(t) - 1.
struct Steps {
    int64_t T, B;
    const int64_t* sizes;   // (T), non-increasing, each in 1..B; null: B each
    const int64_t* starts;  // (T + 1), index of the first row of time t when steps are packed; null: t * B
    bool reverse;

    // The time of the s-th step taken; its own inverse.
    GATEWRIGHT_INLINE int64_t time(int64_t s) const { return reverse ? T - 1 - s : s; }
    GATEWRIGHT_INLINE int64_t rows(int64_t t) const { return sizes ? sizes[t] : B; }
    GATEWRIGHT_INLINE int64_t start(int64_t t) const { return starts ? starts[t] : t * B; }
};

// A (T, B, width) array, or a packed (rows, width) one; the last dimension is contiguous.
template <class T, class Pointer = T*>
struct Rows {
    Pointer data;
    int64_t step, row;  // strides of t and b

    GATEWRIGHT_INLINE Pointer at(const Steps& steps, int64_t t, int64_t b) const {
        return data + (steps.starts ? steps.starts[t] * row : t * step) + b * row;
    }
    GATEWRIGHT_INLINE Pointer at(Place place) const { return data + (place.t * step + place.b * row); }
};

// The state that a reset sets in each of the caller's rows; rows at distance 0 where it is the same for all.
template <class T>
struct ResetState {
    const T* h;  // (B, P)
    const T* c;  // (B, H)
    int64_t h_row, c_row;
};

template <class S>
using RowsIn = Rows<const S, typename Stored<S>::In>;
template <class S>
using RowsOut = Rows<S, typename Stored<S>::Out>;

template <class T, class S = T>
struct Weights {
    using In = WeightsIn<T, S>;
    In W_ih;  // (4H, D)
    In W_hh;  // (4H, P), or (4H, head)
    In b_ih;  // (4H), or null
    In b_hh;  // (4H), or null
    In W_hr;  // (P, H), or null without projection
};

// How the weights of the gates are kept: as they are, or in 16 or 8 bits that are widened as they are loaded.
enum class WeightFormat { full, bfloat16, int8 };

// What numbers are multiplied by to become whole numbers from -127 to 127: they stay as they are, and weights are
// widened; by 127, where they are between -1 and 1; by 127 over the largest of their row.
enum class Bytes { none, of_one, of_row };

// A layer's W_ih or W_hh in fewer bits: (blocks, words of width, 4, V), a lane with two neighbours of bfloat16 or
// four of int8, the first one lowest; past the width are zeros.
struct Narrow {
    uint32_t* data;
    // int8 only, how operands become whole numbers of one byte, and products those of integers.
    Bytes operands;
    float* scale;    // (blocks, 4, V): of a sum - a row's largest weight over 127, over 2^24 where weights are
                     // widened, over 127 with operands of one; NaN where a weight of the row is not finite
    int32_t* start;  // (blocks, 4, V): what sums of integers start from
};

// How h becomes operands of int8: without a projection it is between -1 and 1.
GATEWRIGHT_INLINE Bytes bytes_of_hidden(const Sizes& n) { return n.projected ? Bytes::of_row : Bytes::of_one; }

// Words of four bytes in a row of them.
GATEWRIGHT_INLINE constexpr int64_t quads_of(int64_t width) { return (width + 3) / 4; }

// Numbers in a row of them, at most: the sum of so many products is one of 32 bits.
constexpr int64_t kMostBytes = 0x7FFFFFFF / (127 * 127);

// Memory for rows of x, or of h, as whole numbers of one byte; that of rank n begins n times `rows` rows further
// on.
struct ByteRows {
    uint32_t* data;  // (rows, quads_of(width))
    float* scales;   // (rows): what they are whole numbers of; not read where that is 1/127 for all
    int64_t rows;
};

// Weights as a target wants them; all made by Kernels::pack.  V is the target's vector width, a block is V hidden
// units, and columns past H are zero.  Memory: Kernels::panels_size elements of T.
//
// D, P and H as a depth, of what is summed over, are counted in operands: with pairs (W = uint32_t) a lane holds
// the weights of two neighbours, and 4, V before another dimension in 4, V / 2.
template <class T, class W = T>
struct Panels {
    T* bias;    // (blocks, 4, V): b_ih + b_hh
    W* W_ih;    // (blocks, D, 4, V)
    W* W_hh;    // (blocks, P, 4, V), or by heads: heads.h
    W* W_hr;    // (groups of up to 4 blocks of P, H, blocks, V): W_hr transposed, for the forward pass
    W* W_ih_t;  // (groups of up to 4 blocks of D, blocks of H, 4, V, blocks, V): for dx; rows in order of dgates;
                // or null
    W* W_hh_t;  // the same of P, or by heads: for dh; null with one step alone, where that is not wanted
    W* W_hr_t;  // (groups of up to 4 blocks of H, P, blocks, V): for dh
    WeightFormat format;          // full unless they were narrowed afterwards:
    Narrow narrow_ih, narrow_hh;  // in place of W_ih and W_hh
};

// One walk over steps begin .. end - 1 of a sequence, in one direction.  T is the type of the arithmetic, and of
// what is carried from step to step within it; S is how activations are stored.
template <class T, class S = T>
struct Forward {
    Sizes sizes;
    Steps steps;
    int64_t begin, end;
    Panels<T, PanelElement<T, S>> panels;
    RowsIn<S> x;       // (T, B, D)
    RowsOut<S> y;      // (T, B, P); data null: not wanted
    Operand<S>* h[2];  // (B, P), rows of whole operands: step s reads h[s % 2] and writes h[1 - s % 2];
                       // the caller fills h[begin % 2], and both for rows that join later
    T* h_last;         // (B, P): the hidden state after a row's last step, where h is rounded; with a cell that
                       // keeps_hidden() that after each step, before step `begin` filled by the caller; or null
    T* c;              // (B, H): the cell state, advanced in place; with the sLSTM (B, 3, H): c, n, m
    // (rows, 4H), after activation; with the sLSTM what slstm_cell.h says; or null: keep nothing
    typename Stored<S>::Out gates;
    typename Stored<S>::Out cell;  // (rows, H), c, or c / n, after each step, or null together with gates
    int64_t saved;                 // index of the first row that gates and cell hold
    T* checkpoints;                // (ceil(T / every), B, H): c before step 0, every, 2 every, ..., or null;
                                   // with the sLSTM (..., B, 3, H)
    int64_t every;
    Operand<S>* hidden;  // (B, H), o tanh(c) before it is projected; null without projection
    T* ahead;            // (threads, ahead_size): bias + W_ih x of some steps at once; null: with each
                         // step, as where steps have unequal numbers of rows
    int64_t ahead_steps, ahead_size;
    Operand<S>* operands;  // (threads, operands_size): x of a step, or of those ahead, where it is rounded
    int64_t operands_size;
    const StepTable* table;  // null: every step of the walk is one of x, and none is reset; with the plain cell
    ResetState<T> reset;
    ByteRows x_bytes;    // the same with weights of int8; rows of a share
    ByteRows h_bytes;    // h of a step, each row in its place in the batch; 0 rows where shares have others
    Variant<T> variant;  // the plain one with narrow weights
    T* extra;            // (rows, norm_width(H)), with layer norm, or null together with gates
    T* before_norm;      // (threads, before_norm_rows, blocks, 4, V), with layer norm
    int64_t before_norm_rows;
    T* factors;  // (threads, factors_size), room for kPurposes rows of a share's rows; or null
    int64_t factors_size;
    const T* mask;  // (B, P), of the h that products read; or null
};

// Backward through the steps of one chunk; chunks are walked from the last to the first.
template <class T, class S = T>
struct Backward {
    Sizes sizes;
    Steps steps;
    Panels<T, PanelElement<T, S>> panels;
    RowsIn<S> x, y;                // as in Forward
    const T* h_0;                  // (B, P)
    const T* c_0;                  // (B, H); of the sLSTM c / n
    typename Stored<S>::In gates;  // as Forward left them
    typename Stored<S>::In cell;
    int64_t saved;
    typename Stored<S>::In c_before;  // (B, H): c before step `first`, as it would be kept, or null where that is
                                      // in cell, or c_0
    int64_t first;                    // the first step whose gates and cell are held
    RowsIn<S> dy;                     // (T, B, P); data null: zeros
    RowsIn<S> dgates_in;  // (T, B, 4H): what else depends on the gates after activation; data null: nothing
    RowsIn<S> dcell_in;   // (T, B, H): what else depends on c; data null: nothing
    T* dh;                // (B, P): dh_n before the first chunk, dh_0 after the last
    T* dc;                // (B, H): dc_n, then dc_0; with the sLSTM (B, 3, H), as slstm_cell.h says
    RowsOut<S> dx;        // (T, B, D); data null: not wanted
    RowsOut<T> dpre;      // (T, B, 4H): of the gates before activation; data null: not wanted
    T* dW_ih;             // (blocks, D, 4, V), written by the first chunk, then added to; null: not wanted
    T* dW_hh;             // (blocks, P, 4, V), the same; by heads: heads.h
    T* dW_hr;             // (P, H), added to; null: not wanted
    T* db;                // (blocks, 4, V), the same
    Variant<T> variant;
    const T* extra;  // as gates; null without layer norm
    const T* mask;   // (B, P), as in Forward
    T* factors;      // (threads, factors_size), room for kPurposes rows; or null
    int64_t factors_size;
    T* carried;   // (B, P), with zoneout of h: what of dh goes to the step before as it is
    T* dvectors;  // (blocks, kVectors, V), added to; null: not wanted, or none there
    // As in Forward; h_0, c_0 and what follows are of the caller's rows, dh and dc of those of the walk.
    const StepTable* table;
    ResetState<T> reset;
    T *dh_reset, *dc_reset;  // (B, P), (B, H), added to; null: not wanted
};

// Rows that stand at a constant distance, as one piece of the k dimension of a product.
template <class Pointer>
struct Segment {
    Pointer data;
    int64_t row;    // stride
    int64_t count;  // rows
};

// Operands of sums over the rows of a chunk, where these are pairs: a lane has the numbers of two successive rows,
// and a chunk with an odd number of rows ends with a row of zeros.
struct RowPairs {
    int64_t count;         // half the rows, rounded up
    uint32_t* dgates;      // (blocks, count, 4, V)
    uint32_t* x;           // (count, D)
    uint32_t* h;           // (count, P)
    uint32_t* dprojected;  // (count, P); null without projection
    uint32_t* hidden;      // (groups of up to 4 blocks of H, count, blocks, V); null without projection
};

template <class T, class S = T>
struct Chunk {
    using In = typename Stored<S>::In;

    int64_t begin, end;        // steps
    int64_t rows;              // in all steps together
    const int64_t* first;      // (end - begin + 1): index in the chunk of each step's first row
    Operand<S>* dgates;        // (rows, blocks, 4, V), before activation
    T* dhidden;                // (B, H): dh before projection; null without projection
    Operand<S>* dprojected;    // (rows, P): dh after projection; null without projection
    Operand<S>* hidden;        // o tanh(c): (groups of up to 4 blocks of H, rows, blocks, V), with pairs of
                               // neighbours (rows, blocks of H, V); null without projection
    const Segment<In>* x;      // rows of x in the order of the chunk
    const Segment<In>* h;      // rows of h before each step, in the same order
    int64_t x_count, h_count;  // segments
    RowPairs pairs;            // of all of these, by Kernels::pair_rows
    T* dvectors;  // (rows, blocks, 5, V): of i f g o after the norm, before activation, and of the norm of c; or
                  // null
    T* h_masked;  // (rows, P): what h then are segments of; or null
};

// Up to this width of x, dx is a dot product a column, for which W_ih is used as the forward pass has it.
constexpr int64_t kNarrowInput = 4;

// Blocks that a product gives at once; where threads share out its columns, they do so by groups.
constexpr int64_t kGroup = 4;

// By how much at most a row of random factors is longer than the units are.
constexpr int64_t kDrawn = 64;

// What one thread does: these rows and these blocks of hidden units.
struct Share {
    int rank, size;
    int64_t row_begin, row_end, block_begin, block_end;
};

// y = b + W x, packed by Kernels::pack_linear; linear_size elements.
template <class T>
struct Linear {
    int64_t in, out;
    const T* panel;
};

class Team;

// The entries with weights of int8: panels of bias, narrow weights and projection, and the walk.
struct Int8Kernels {
    int width;
    int64_t (*panels_size)(const Sizes&);  // in words of 32 bits
    // x, h: how these become operands.
    Panels<float> (*layout)(const Sizes&, Bytes x, Bytes h, uint32_t* memory);
    void (*pack)(const Sizes&, const Weights<float>&, const Panels<float>&, int rank, int size);
    void (*forward)(const Forward<float>&, const Share&, Team* barrier);
};

// The entries of one target, type of arithmetic (T) and storage (S).  Panels hold `width` lanes a vector.
template <class T, class S = T>
struct Kernels {
    using W = PanelElement<T, S>;

    int width;
    int64_t (*panels_size)(const Sizes&, bool forward, bool backward);
    // Lays panels out in memory; then each rank packs its part of them.
    Panels<T, W> (*layout)(const Sizes&, T* memory, bool forward, bool backward);
    void (*pack)(const Sizes&, const Weights<T, S>&, const Panels<T, W>&, bool forward, bool backward, int rank,
                 int size);
    // Rows of `width` numbers, `row` elements apart, to contiguous rows of operands; from null: zeros.
    void (*operands)(typename Stored<S>::In from, int64_t row, int64_t width, Operand<S>* to, int64_t rows);
    // The team's barrier after each step keeps blocks together; null where a thread has all blocks of its rows.
    void (*forward)(const Forward<T, S>&, const Share&, Team* barrier);
    void (*adjoint)(const Backward<T, S>&, const Chunk<T, S>&, const Share&, Team* barrier);
    // Rows begin .. end - 1 of a mask (B, P) on the h that products read; row: P + kDrawn elements of this thread.
    void (*hidden_mask)(const Variant<T>&, int64_t P, int64_t begin, int64_t end, T* row, T* mask);
    // Between the two, where products are of pairs; else null.
    void (*pair_rows)(const Backward<T, S>&, const Chunk<T, S>&, int rank, int size);
    void (*products)(const Backward<T, S>&, const Chunk<T, S>&, int rank, int size);
    // dW_ih (4H, D), dW_hh (4H, P) or (4H, head), db (4H) from the layouts above; null: not wanted.
    void (*unpack)(const Backward<T, S>&, T* dW_ih, T* dW_hh, T* db, int rank, int size);
    void (*unpack_vectors)(const Backward<T, S>&, const VariantGradients<T>&, int rank, int size);
    int64_t (*linear_size)(int64_t in, int64_t out);
    void (*pack_linear)(WeightsIn<T, S> W, WeightsIn<T, S> b, int64_t in, int64_t out,
                        T* panel);  // W (out, in), b (out) or null
    // (rows, in) in operands, (rows, out)
    void (*linear)(const Linear<T>&, const Operand<S>* x, typename Stored<S>::Out y, int64_t row_begin,
                   int64_t row_end);
    void (*sigmoid)(const T* x, T* y, int64_t count);
    void (*tanh)(const T* x, T* y, int64_t count);
    void (*exp_minus)(const T* x, T* y, int64_t count);  // exp(-x), of x >= 0
    void (*log_sigmoid)(const T* x, T* y, int64_t count);
    double (*fma_rounds)(int64_t rounds);  // returns the FLOPs done
};

}  // namespace gatewright
