// Whole calls: split the work, find memory, run the entries of a target on a team.
#pragma once

#include "kernels/lstm.h"

namespace gatewright {

// How a call is cut between threads: by rows of the batch, or by hidden units with a barrier a step.
enum class Split { automatic, rows, units };

template <class T>
struct ForwardCall {
    Sizes sizes;
    Steps steps;
    Weights<T> weights;
    Rows<const T> x;  // (T, B, D)
    const T* h_0;     // (B, P), or null: zeros
    const T* c_0;     // (B, H), or null: zeros
    Rows<T> y;        // (T, B, P)
    T* h_n;           // (B, P)
    T* c_n;           // (B, H)
    T* gates;         // (rows, 4H), or null: do not keep
    T* cell;          // (rows, H), null together with gates
    T* checkpoints;   // (ceil(T / every), B, H), or null
    int64_t every;    // steps between checkpoints, a multiple of chunk_steps
    const T* clamps;  // (4, H): values at which gates are held, after activation; NaN where one is free; or null
    int threads;
    Split split;
};

template <class T>
struct BackwardCall {
    Sizes sizes;
    Steps steps;
    Weights<T> weights;
    Rows<const T> x, y;
    const T* h_0;    // (B, P)
    const T* c_0;    // (B, H)
    const T* gates;  // as the forward call left them, or null with checkpoints
    const T* cell;
    const T* checkpoints;
    int64_t every;
    Rows<const T> dy;      // data null: zeros
    Rows<const T> dgates;  // (T, B, 4H), of the gates after activation; data null: nothing
    Rows<const T> dcell;   // (T, B, H); data null: nothing
    const T* dh_n;         // (B, P), or null: zeros
    const T* dc_n;         // (B, H), or null: zeros
    Rows<T> dx;            // data null: not wanted
    T* dh_0;               // (B, P)
    T* dc_0;               // (B, H)
    T* dW_ih;              // as the weights; null: not wanted
    T* dW_hh;
    T* db;  // (4H), of b_ih and of b_hh alike
    T* dW_hr;
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

template <class T>
void run_forward(const Kernels<T>& kernels, const ForwardCall<T>& call);

template <class T>
void run_backward(const Kernels<T>& kernels, const BackwardCall<T>& call);

// y (rows, out) = b + x W', for x (rows, in), W (out, in), b (out) or null.
template <class T>
void run_linear(const Kernels<T>& kernels, const T* W, const T* b, int64_t in, int64_t out, const T* x, T* y,
                int64_t rows, int threads);

// Packs all weights in this thread; memory: kernels.panels_size(sizes, true, false) elements.
template <class T>
Panels<T> pack_weights(const Kernels<T>& kernels, const Sizes& sizes, const Weights<T>& weights, T* memory);

// One step in this thread, with weights packed before: x (B, D), h (B, P), c (B, H), all contiguous.
template <class T>
void run_step(const Kernels<T>& kernels, const Sizes& sizes, const Panels<T>& packed, const T* x, const T* h,
              const T* c, T* h_next, T* c_next);

}  // namespace gatewright
