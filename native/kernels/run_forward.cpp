// Whole calls forward: a sequence, a step, what stands behind the layers.
#include <algorithm>
#include <cstring>

#include "kernels/dispatch.h"
#include "kernels/packed.h"
#include "kernels/plan.h"
#include "kernels/table_rows.h"
#include "kernels/variant_memory.h"
#include "support/subnormals.h"
#include "support/threads.h"

namespace gatewright {

namespace {

template <class S>
constexpr bool kNarrow = std::is_same_v<S, BFloat16>;

// Memory for rows of x or h as bytes.
class ByteWorkspace {
  public:
    // shares: how many have rows of their own.
    ByteWorkspace(int64_t rows, int64_t width, int shares)
        : data_(shares * rows * quads_of(width)), scales_(shares * rows), rows_(shares > 1 ? rows : 0) {}
    ByteRows rows() const { return {data_.get(), scales_.get(), rows_}; }

  private:
    const Workspace<uint32_t> data_;
    const Workspace<float> scales_;
    const int64_t rows_;
};

// element: bytes of a number of which products are made; entry: the walk over what `packed` has.
template <class T, class S, class Panels>
void run_walk(const Kernels<T, S>& kernels, const ForwardCall<T, S>& call, const Panels& packed,
              std::size_t element, void (*entry)(const Forward<T, S>&, const Share&, Team*)) {
    constexpr bool kBytes = std::is_same_v<Panels, PackedBytes>;
    const Sizes& n = call.sizes;
    const int64_t blocks = blocks_of(n.H, kernels.width), width = operands_of<Operand<S>>(n.P);
    const Variant<T>& variant = call.variant;
    Plan plan = plan_for(n, call.threads, split_for(variant, forward_split(n, call.split, element)), kernels.width,
                         element);
    const StepTable* const table = call.table;
    const bool ordered = table && table->order, gathered = table && table->places;
    const int64_t cell_width = variant.cell_rows() * n.H;
    const bool keeps = variant.keeps_hidden(), writes_h = kNarrow<S> || keeps;  // the walk, in full width
    const Workspace<T> zeros(table ? std::max(n.P, cell_width) : 0),
        h_ordered(ordered && writes_h ? n.B * n.P : 0), c_ordered(ordered ? n.B * cell_width : 0);
    if (zeros.get()) std::fill_n(zeros.get(), std::max(n.P, cell_width), T(0));
    const Workspace<Operand<S>> h(2 * n.B * width), hidden(n.projected ? n.B * operands_of<Operand<S>>(n.H) : 0);
    Forward<T, S> f{};
    f.sizes = n;
    f.steps = call.steps;
    f.begin = 0;
    f.end = call.steps.T;
    f.panels = packed.panels();
    f.x = call.x;
    f.y = call.y;
    f.h[0] = h.get();
    f.h[1] = h.get() + n.B * width;
    f.h_last = ordered ? h_ordered.get() : call.h_n;
    f.c = ordered ? c_ordered.get() : call.c_n;
    f.gates = call.gates;
    f.cell = call.cell;
    f.checkpoints = call.checkpoints;
    f.every = call.every;
    f.hidden = hidden.get();
    f.extra = call.extra;
    f.table = table;
    if (table) f.reset = reset_state<T>(call, zeros.get());
    const int64_t share_rows = plan.by_units ? n.B : blocks_of(n.B, plan.threads);
    const int64_t share_lanes = (plan.by_units ? blocks_of(blocks, plan.threads) : blocks) * kernels.width;
    f.ahead_steps = call.steps.sizes ? 0 : ahead_steps(n, call.steps.T, share_rows, share_lanes, sizeof(T));
    // A team may come out smaller than planned, and then each share is larger.
    f.ahead_size = f.ahead_steps * n.B * blocks * kernels.width * 4;
    const Workspace<T> ahead(f.ahead_size * (f.ahead_steps ? plan.threads : 0));
    f.ahead = ahead.get();
    if (kNarrow<S> || gathered)
        f.operands_size = std::max<int64_t>(f.ahead_steps, 1) * n.B * operands_of<Operand<S>>(n.D);
    const Workspace<Operand<S>> operands(f.operands_size * plan.threads);
    f.operands = operands.get();
    const ByteWorkspace x_bytes(kBytes ? std::max<int64_t>(f.ahead_steps, 1) * n.B : 0, n.D, plan.threads);
    const ByteWorkspace h_bytes(kBytes ? n.B : 0, n.P, plan.by_units ? plan.threads : 1);
    f.x_bytes = x_bytes.rows();
    f.h_bytes = h_bytes.rows();
    const VariantMemory<T> memory(variant, n, blocks * kernels.width, plan.threads, n.B, table);
    memory.give(f);

    run_team(plan.threads, [&](int rank, Team& team) {
        const FlushSubnormals flush(kNarrow<S>);
        const int size = team.size();
        packed.pack(call.weights, rank, size);
        const int64_t begin = n.B * rank / size, end = n.B * (rank + 1) / size;
        if (keeps && !ordered) copy_or_zero(call.h_n, call.h_0, begin * n.P, end * n.P);
        memory.draw_mask(kernels, n.P, begin, end, rank);
        const auto start = [&](Operand<S>* to) {
            if (ordered) {
                for (int64_t row = begin; row < end; ++row) {
                    const T* const from = call.h_0 ? call.h_0 + table->caller(row) * n.P : nullptr;
                    kernels.operands(from ? memory.masked_row(from, row, n.P) : from, n.P, n.P, to + row * width,
                                     1);
                }
                return;
            }
            const auto from = call.h_0 ? memory.masked(call.h_0, begin * n.P, end * n.P) + begin * n.P : nullptr;
            if constexpr (kNarrow<S>)
                kernels.operands(from, n.P, n.P, to + begin * width, end - begin);
            else
                copy_or_zero(to + begin * n.P, from, 0, (end - begin) * n.P);
        };
        start(f.h[0]);
        if (call.steps.sizes) start(f.h[1]);
        if (ordered) {
            gather_rows(*table, f.c, call.c_0, cell_width, begin, end);
            if (writes_h) gather_rows(*table, f.h_last, call.h_0, n.P, begin, end);
        } else {
            copy_or_zero(f.c, call.c_0, begin * cell_width, end * cell_width);
        }
        if (rank == 0) plan.cut_rows(call.steps, size);
        team.barrier();
        entry(f, plan.share(rank, size, n.B, blocks, 1), plan.by_units ? &team : nullptr);
        team.barrier();
        if (table) fill_absent(call, f.reset, begin, end);
        if (ordered) scatter_rows(*table, call.c_n, f.c, cell_width, begin, end);
        if (writes_h) {
            if (ordered)
                scatter_rows(*table, call.h_n, f.h_last, n.P, begin, end);
            else if (call.steps.T == 0 && !keeps)
                copy_or_zero(call.h_n, call.h_0, begin * n.P, end * n.P);
            if (table) end_states(call, f.reset, begin, end);
            return;
        }
        // A row's last hidden state is in the buffer that its last step wrote.
        for (int64_t b = begin; b < end; ++b) {
            int64_t steps = call.steps.T;
            if (call.steps.sizes && !call.steps.reverse)
                while (steps > 0 && call.steps.sizes[steps - 1] <= b) --steps;
            const int64_t caller = table ? table->caller(b) : b;
            std::memcpy(call.h_n + caller * n.P, f.h[steps % 2] + b * n.P, n.P * sizeof(T));
        }
        if (table) end_states(call, f.reset, begin, end);
    });
}

}  // namespace

template <class T, class S>
void run_forward(const Kernels<T, S>& kernels, const ForwardCall<T, S>& call) {
    const Packed<T, S> packed(kernels, call.sizes, true, false);
    run_walk(kernels, call, packed, kOperandBytes<T, S>, kernels.forward);
}

void run_int8_forward(const Target& target, const ForwardCall<float>& call) {
    const PackedBytes packed(*target.int8, call.sizes);
    run_walk(*target.f32[0], call, packed, sizeof(int8_t), target.int8->forward);
}

template <class T, class S>
void run_linear(const Kernels<T, S>& kernels, const LinearCall<T, S>& call) {
    const int64_t in = call.in, rows = call.rows, depth = operands_of<Operand<S>>(in);
    const Workspace<T> panel(kernels.linear_size(in, call.out));
    const Workspace<Operand<S>> operands(kNarrow<S> ? rows * depth : 0);
    const double work = 2.0 * rows * in * call.out;
    const int threads = work < kLittle ? 1 : static_cast<int>(std::min<int64_t>(call.threads, rows));
    {
        const FlushSubnormals flush(kNarrow<S>);
        kernels.pack_linear(call.W, call.b, in, call.out, panel.get());
    }
    const Linear<T> linear{in, call.out, panel.get()};
    run_team(threads, [&](int rank, Team& team) {
        const FlushSubnormals flush(kNarrow<S>);
        const int64_t begin = rows * rank / team.size(), end = rows * (rank + 1) / team.size();
        if constexpr (kNarrow<S>) {
            kernels.operands(call.x + begin * in, in, in, operands.get() + begin * depth, end - begin);
            kernels.linear(linear, operands.get(), call.y, begin, end);
        } else {
            kernels.linear(linear, call.x, call.y, begin, end);
        }
    });
}

template <class T, class S>
Panels<T, PanelElement<T, S>> pack_weights(const Kernels<T, S>& kernels, const Sizes& sizes,
                                           const Weights<T, S>& weights, T* memory) {
    const FlushSubnormals flush(kNarrow<S>);
    const auto panels = kernels.layout(sizes, memory, true, false);
    kernels.pack(sizes, weights, panels, true, false, 0, 1);
    return panels;
}

template <class T, class S>
void run_step(const Kernels<T, S>& kernels, const Sizes& n, const Panels<T, PanelElement<T, S>>& packed,
              typename Stored<S>::In x, const T* h, const T* c, T* h_next, T* c_next) {
    const FlushSubnormals flush(kNarrow<S>);
    const int64_t width = operands_of<Operand<S>>(n.P);
    const Workspace<Operand<S>> hidden(n.projected ? n.B * operands_of<Operand<S>>(n.H) : 0);
    const Workspace<Operand<S>> operands(kNarrow<S> ? n.B * (2 * width + operands_of<Operand<S>>(n.D)) : 0);
    Forward<T, S> f{};
    f.sizes = n;
    f.steps = {1, n.B, nullptr, nullptr, false};
    f.end = 1;
    f.panels = packed;
    f.x = {x, 0, n.D};
    if constexpr (kNarrow<S>) {
        f.h[0] = operands.get();
        f.h[1] = f.h[0] + n.B * width;
        f.operands = f.h[1] + n.B * width;
        f.h_last = h_next;
        kernels.operands(h, n.P, n.P, f.h[0], n.B);
    } else {
        f.h[0] = const_cast<T*>(h);  // only read: step 0 writes h[1]
        f.h[1] = h_next;
    }
    f.c = c_next;
    f.hidden = hidden.get();
    std::copy_n(c, n.B * n.H, c_next);
    kernels.forward(f, {0, 1, 0, n.B, 0, blocks_of(n.H, kernels.width)}, nullptr);
}

#define GATEWRIGHT_FOR(T, S)                                                                                      \
    template void run_forward(const Kernels<T, S>&, const ForwardCall<T, S>&);                                    \
    template void run_linear(const Kernels<T, S>&, const LinearCall<T, S>&);                                      \
    template Panels<T, PanelElement<T, S>> pack_weights(const Kernels<T, S>&, const Sizes&, const Weights<T, S>&, \
                                                        T*);                                                      \
    template void run_step(const Kernels<T, S>&, const Sizes&, const Panels<T, PanelElement<T, S>>&,              \
                           Stored<S>::In, const T*, const T*, T*, T*)
GATEWRIGHT_FOR(float, float);
GATEWRIGHT_FOR(double, double);
GATEWRIGHT_FOR(float, BFloat16);
#undef GATEWRIGHT_FOR

}  // namespace gatewright
