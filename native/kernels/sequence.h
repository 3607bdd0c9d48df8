// Whole calls: split the work, find memory, run the entries of a target on a team.
#pragma once

#include "kernels/lstm.h"

namespace gatewright {

// How a call is cut between threads: by rows of the batch, or by hidden units with a barrier a step.
enum class Split { automatic, rows, units };

template <class T, class S = T>
struct ForwardCall {
    Sizes sizes;
    Steps steps;
    Weights<T, S> weights;
    RowsIn<S> x;                    // (T, B, D)
    const T* h_0;                   // (B, P), or null: zeros
    const T* c_0;                   // (B, H), with the sLSTM (B, 3, H), or null: zeros
    RowsOut<S> y;                   // (T, B, P)
    T* h_n;                         // (B, P)
    T* c_n;                         // as c_0
    typename Stored<S>::Out gates;  // (rows, 4H), as Forward leaves them, or null: do not keep
    typename Stored<S>::Out cell;   // (rows, H), null together with gates
    T* checkpoints;                 // (ceil(T / every), B, H), with the sLSTM (..., B, 3, H), or null
    int64_t every;                  // steps between checkpoints, a multiple of chunk_steps
    Variant<T> variant;             // its `bias` is made here
    T* extra;                       // (rows, norm_width(H)), with layer norm together with gates
    // With the plain cell alone; null: x has the steps that `steps` says; else these are those of the table.
    const StepTable* table;
    const T *h_reset, *c_reset;  // (B, P), (B, H), or null: zeros
    bool fill_kept;              // whether gates and cells are to be filled where a row has no step
    int threads;
    Split split;
};

template <class T, class S = T>
struct BackwardCall {
    Sizes sizes;
    Steps steps;
    Weights<T, S> weights;
    RowsIn<S> x, y;
    const T* h_0;                  // (B, P)
    const T* c_0;                  // (B, H), with the sLSTM (B, 3, H)
    const T* c_n;                  // with the sLSTM and dc_n: as the forward call left it; else not read
    typename Stored<S>::In gates;  // as the forward call left them, or null with checkpoints
    typename Stored<S>::In cell;
    const T* checkpoints;
    int64_t every;
    bool narrow_kept;  // with checkpoints: whether gates and cell are computed again in bfloat16, or as T
    RowsIn<S> dy;      // data null: zeros
    RowsIn<S> dgates;  // (T, B, 4H), of the gates after activation; data null: nothing
    RowsIn<S> dcell;   // (T, B, H); data null: nothing
    const T* dh_n;     // (B, P), or null: zeros
    const T* dc_n;     // as c_0, or null: zeros
    RowsOut<S> dx;     // data null: not wanted
    RowsOut<T> dpre;   // (T, B, 4H), of the gates before activation; data null: not wanted, as it is in bf16
    T* dh_0;           // (B, P), or null: not wanted
    T* dc_0;           // as c_0, or null: not wanted
    T* dW_ih;          // as the weights; null: not wanted
    T* dW_hh;
    T* db;  // (4H), of b_ih and of b_hh alike
    T* dW_hr;
    Variant<T> variant;             // as the forward call had it
    const T* extra;                 // as that left it, together with gates
    VariantGradients<T> d_variant;  // bias: not looked at
    const StepTable* table;         // as in ForwardCall
    const T *h_reset, *c_reset;
    T *dh_reset, *dc_reset;  // (B, P), (B, H), or null: not wanted
    int threads;
    Split split;
};

constexpr int64_t kChunkBytes = 1 << 20;  // of dgates, which a chunk's products read again and again
constexpr int64_t kLeastChunk = 128;      // rows, so that tiles of dW are loaded and stored seldom

// Steps that the backward pass takes at once: by sizes alone, so that results depend on nothing else.
int64_t chunk_steps(const Sizes& sizes, std::size_t element);

// How many steps' share of x one thread computes at once: with few rows a tile is filled by several steps, and the
// weights of x are read once for all of them.  0: none ahead.
int64_t ahead_steps(const Sizes& sizes, int64_t T, int64_t rows, int64_t lanes, std::size_t element);

// Elements that this takes at most, whatever T and rows are.
int64_t most_ahead(int64_t lanes, std::size_t element);

template <class T, class S>
void run_forward(const Kernels<T, S>& kernels, const ForwardCall<T, S>& call);

struct Target;

// The same with weights of int8, which has neither clamps nor checkpoints.  Without a projection h_0 is between -1
// and 1.
void run_int8_forward(const Target& target, const ForwardCall<float>& call);

template <class T, class S>
void run_backward(const Kernels<T, S>& kernels, const BackwardCall<T, S>& call);

// y (rows, out) = b + x W', for x (rows, in), W (out, in), b (out) or null.
template <class T, class S = T>
struct LinearCall {
    WeightsIn<T, S> W, b;
    int64_t in, out, rows;
    typename Stored<S>::In x;
    typename Stored<S>::Out y;
    int threads;
};

template <class T, class S>
void run_linear(const Kernels<T, S>& kernels, const LinearCall<T, S>& call);

// Packs all weights in this thread; memory: kernels.panels_size(sizes, true, false) elements.
template <class T, class S>
Panels<T, PanelElement<T, S>> pack_weights(const Kernels<T, S>& kernels, const Sizes& sizes,
                                           const Weights<T, S>& weights, T* memory);

// One step in this thread, with weights packed before: x (B, D), h (B, P), c (B, H), all contiguous.
template <class T, class S>
void run_step(const Kernels<T, S>& kernels, const Sizes& sizes, const Panels<T, PanelElement<T, S>>& packed,
              typename Stored<S>::In x, const T* h, const T* c, T* h_next, T* c_next);

}  // namespace gatewright
