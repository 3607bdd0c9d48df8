// Whole calls forward: a sequence, a step, what stands behind the layers.
#include <algorithm>
#include <cstring>

#include "kernels/packed.h"
#include "kernels/plan.h"
#include "support/threads.h"

namespace gatewright {

template <class T>
void run_forward(const Kernels<T>& kernels, const ForwardCall<T>& call) {
    const Sizes& n = call.sizes;
    const int64_t blocks = blocks_of(n.H, kernels.width);
    Plan plan = plan_for(n, call.threads, call.split, kernels.width, sizeof(T));
    const Packed<T> packed(kernels, n, true, false);
    const Workspace<T> h(2 * n.B * n.P), hidden(n.projected ? n.B * n.H : 0);
    Forward<T> f{};
    f.sizes = n;
    f.steps = call.steps;
    f.begin = 0;
    f.end = call.steps.T;
    f.panels = packed.panels();
    f.x = call.x;
    f.y = call.y;
    f.h[0] = h.get();
    f.h[1] = h.get() + n.B * n.P;
    f.c = call.c_n;
    f.gates = call.gates;
    f.cell = call.cell;
    f.checkpoints = call.checkpoints;
    f.every = call.every;
    f.hidden = hidden.get();
    f.clamps = call.clamps;
    const int64_t share_rows = plan.by_units ? n.B : blocks_of(n.B, plan.threads);
    const int64_t share_lanes = (plan.by_units ? blocks_of(blocks, plan.threads) : blocks) * kernels.width;
    f.ahead_steps = call.steps.sizes ? 0 : ahead_steps(n, call.steps.T, share_rows, share_lanes, sizeof(T));
    // A team may come out smaller than planned, and then each share is larger.
    f.ahead_size = f.ahead_steps * n.B * blocks * kernels.width * 4;
    const Workspace<T> ahead(f.ahead_size * (f.ahead_steps ? plan.threads : 0));
    f.ahead = ahead.get();

    run_team(plan.threads, [&](int rank, Team& team) {
        const int size = team.size();
        packed.pack(call.weights, rank, size);
        const int64_t begin = n.B * rank / size, end = n.B * (rank + 1) / size;
        copy_or_zero(f.h[0], call.h_0, begin * n.P, end * n.P);
        if (call.steps.sizes) copy_or_zero(f.h[1], call.h_0, begin * n.P, end * n.P);
        copy_or_zero(f.c, call.c_0, begin * n.H, end * n.H);
        if (rank == 0) plan.cut_rows(call.steps, size);
        team.barrier();
        kernels.forward(f, plan.share(rank, size, n.B, blocks, 1), plan.by_units ? &team : nullptr);
        team.barrier();
        // A row's last hidden state is in the buffer that its last step wrote.
        for (int64_t b = begin; b < end; ++b) {
            int64_t steps = call.steps.T;
            if (call.steps.sizes && !call.steps.reverse)
                while (steps > 0 && call.steps.sizes[steps - 1] <= b) --steps;
            std::memcpy(call.h_n + b * n.P, f.h[steps % 2] + b * n.P, n.P * sizeof(T));
        }
    });
}

template <class T>
void run_linear(const Kernels<T>& kernels, const T* W, const T* b, int64_t in, int64_t out, const T* x, T* y,
                int64_t rows, int threads) {
    const Workspace<T> panel(kernels.linear_size(in, out));
    kernels.pack_linear(W, b, in, out, panel.get());
    const Linear<T> linear{in, out, panel.get()};
    const double work = 2.0 * rows * in * out;
    run_team(work < kLittle ? 1 : static_cast<int>(std::min<int64_t>(threads, rows)), [&](int rank, Team& team) {
        kernels.linear(linear, x, y, rows * rank / team.size(), rows * (rank + 1) / team.size());
    });
}

template <class T>
Panels<T> pack_weights(const Kernels<T>& kernels, const Sizes& sizes, const Weights<T>& weights, T* memory) {
    const Panels<T> panels = kernels.layout(sizes, memory, true, false);
    kernels.pack(sizes, weights, panels, true, false, 0, 1);
    return panels;
}

template <class T>
void run_step(const Kernels<T>& kernels, const Sizes& n, const Panels<T>& packed, const T* x, const T* h,
              const T* c, T* h_next, T* c_next) {
    const Workspace<T> hidden(n.projected ? n.B * n.H : 0);
    Forward<T> f{};
    f.sizes = n;
    f.steps = {1, n.B, nullptr, nullptr, false};
    f.end = 1;
    f.panels = packed;
    f.x = {x, 0, n.D};
    f.h[0] = const_cast<T*>(h);  // only read: step 0 writes h[1]
    f.h[1] = h_next;
    f.c = c_next;
    f.hidden = hidden.get();
    std::copy_n(c, n.B * n.H, c_next);
    kernels.forward(f, {0, 1, 0, n.B, 0, blocks_of(n.H, kernels.width)}, nullptr);
}

template void run_forward<float>(const Kernels<float>&, const ForwardCall<float>&);
template void run_forward<double>(const Kernels<double>&, const ForwardCall<double>&);
template void run_linear<float>(const Kernels<float>&, const float*, const float*, int64_t, int64_t, const float*,
                                float*, int64_t, int);
template void run_linear<double>(const Kernels<double>&, const double*, const double*, int64_t, int64_t,
                                 const double*, double*, int64_t, int);
template Panels<float> pack_weights<float>(const Kernels<float>&, const Sizes&, const Weights<float>&, float*);
template Panels<double> pack_weights<double>(const Kernels<double>&, const Sizes&, const Weights<double>&,
                                             double*);
template void run_step<float>(const Kernels<float>&, const Sizes&, const Panels<float>&, const float*,
                              const float*, const float*, float*, float*);
template void run_step<double>(const Kernels<double>&, const Sizes&, const Panels<double>&, const double*,
                               const double*, const double*, double*, double*);

}  // namespace gatewright
