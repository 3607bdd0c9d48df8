#include "kernels/sequence.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "support/threads.h"
#include "support/workspace.h"

namespace gatewright {

namespace {

constexpr int64_t kLittle = 2'000'000;  // FLOPs below which waking a thread costs more than it gives
constexpr int64_t kStep = 200'000;      // FLOPs of a step's recurrence below which a barrier a step costs more
constexpr int64_t kSecondCache = 768 << 10;  // bytes of weights that stay in a core's second cache
constexpr int64_t kAheadBytes = 256 << 10;   // of x's share of the gates, a thread
constexpr int64_t kAheadRows = 8;            // more rows fill the tiles of a single step

int64_t blocks_of(int64_t units, int64_t width) { return (units + width - 1) / width; }

// Who does what.
struct Plan {
    int threads;
    bool by_units;
    std::vector<int64_t> row_bounds;  // (threads + 1), by rows; room for all is made before threads start

    Share share(int rank, int size, int64_t B, int64_t blocks, int64_t unit) const {
        if (!by_units) return {rank, size, row_bounds[rank], row_bounds[rank + 1], 0, blocks};
        const int64_t units = blocks_of(blocks, unit);
        return {rank,
                size,
                0,
                B,
                std::min(blocks, units * rank / size * unit),
                std::min(blocks, units * (rank + 1) / size * unit)};
    }

    // Gives each of `size` threads rows with as many steps as the others have.
    void cut_rows(const Steps& steps, int size) {
        row_bounds.assign(size + 1, steps.B);
        row_bounds[0] = 0;
        if (!steps.sizes) {
            for (int n = 1; n < size; ++n) row_bounds[n] = steps.B * n / size;
            return;
        }
        int64_t length = steps.T, done = 0;
        int bound = 1;
        for (int64_t b = 0; b < steps.B && bound < size; ++b) {
            while (length > 0 && steps.sizes[length - 1] <= b) --length;
            done += length;
            while (bound < size && done * size >= steps.starts[steps.T] * bound) row_bounds[bound++] = b + 1;
        }
    }
};

Plan plan_for(const Sizes& n, int threads, Split split, int64_t width, std::size_t element) {
    const double work = 8.0 * n.T * n.B * n.H * (n.D + n.P);
    Plan plan{std::max(1, threads), false, {}};
    if (work < kLittle) plan.threads = 1;
    const int64_t weights = 4 * n.H * (n.D + n.P) * static_cast<int64_t>(element);
    const int64_t rows = n.B / plan.threads;
    const int64_t step = 8 * n.B * n.H * n.P;
    plan.by_units = !n.projected && step > kStep && rows <= 4 && (rows < 1 || weights > kSecondCache);
    if (split != Split::automatic) plan.by_units = split == Split::units && !n.projected;
    plan.threads = static_cast<int>(
        std::min<int64_t>(plan.threads, plan.by_units ? blocks_of(n.H, width) : std::max<int64_t>(n.B, 1)));
    plan.row_bounds.reserve(plan.threads + 1);
    return plan;
}

template <class T>
void copy_or_zero(T* to, const T* from, int64_t begin, int64_t end) {
    if (end <= begin) return;
    if (from)
        std::memcpy(to + begin, from + begin, (end - begin) * sizeof(T));
    else
        std::memset(to + begin, 0, (end - begin) * sizeof(T));
}

// The weights in panels: made by all ranks together, in memory that goes back when this does.
template <class T>
class Packed {
  public:
    Packed(const Kernels<T>& kernels, const Sizes& sizes, bool forward, bool backward)
        : kernels_(kernels),
          sizes_(sizes),
          forward_(forward),
          backward_(backward),
          memory_(kernels.panels_size(sizes, forward, backward)),
          panels_(kernels.layout(sizes, memory_.get(), forward, backward)) {}
    void pack(const Weights<T>& weights, int rank, int size) const {
        kernels_.pack(sizes_, weights, panels_, forward_, backward_, rank, size);
    }
    const Panels<T>& panels() const { return panels_; }

  private:
    const Kernels<T>& kernels_;
    const Sizes& sizes_;
    const bool forward_, backward_;
    const Workspace<T> memory_;
    const Panels<T> panels_;
};

}  // namespace

int64_t ahead_steps(const Sizes& n, int64_t T, int64_t rows, int64_t lanes, std::size_t element) {
    if (n.D < 8 || rows > kAheadRows) return 0;
    const int64_t bytes = rows * 4 * lanes * static_cast<int64_t>(element);
    return std::min(T, std::max<int64_t>(2, kAheadBytes / std::max<int64_t>(bytes, 1)));
}

int64_t most_ahead(int64_t lanes, std::size_t element) {
    return std::max(2 * kAheadRows * 4 * lanes, kAheadBytes / static_cast<int64_t>(element));
}

int64_t chunk_steps(const Sizes& n, std::size_t element) {
    const int64_t row = 4 * n.H * static_cast<int64_t>(element);
    const int64_t rows = std::max(kLeastChunk, kChunkBytes / row);
    return std::max<int64_t>(1, rows / std::max<int64_t>(n.B, 1));
}

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

namespace {

// Chunks of a backward pass with what they need to know about their rows.
template <class T>
struct ChunkPlan {
    int64_t begin, end, rows;
    std::vector<int64_t> first;
    std::vector<Segment<T>> x, h;
};

template <class T>
void append(std::vector<Segment<T>>& segments, const T* data, int64_t row, int64_t count) {
    if (count == 0) return;
    if (!segments.empty()) {
        Segment<T>& last = segments.back();
        if (last.row == row && data == last.data + last.count * row) {
            last.count += count;
            return;
        }
    }
    segments.push_back({data, row, count});
}

template <class T>
ChunkPlan<T> plan_chunk(const BackwardCall<T>& call, int64_t begin, int64_t end) {
    const Steps& steps = call.steps;
    const int64_t sign = steps.reverse ? -1 : 1;
    // With one row a step, the distance between rows is that between steps.
    const bool single = steps.B == 1 && !steps.starts;
    const int64_t x_row = single ? sign * call.x.step : call.x.row,
                  y_row = single ? sign * call.y.step : call.y.row;
    ChunkPlan<T> plan{begin, end, 0, {0}, {}, {}};
    for (int64_t s = begin; s < end; ++s) {
        const int64_t t = steps.time(s), rows = steps.rows(t);
        plan.rows += rows;
        plan.first.push_back(plan.rows);
        append(plan.x, call.x.at(steps, t, 0), x_row, rows);
        if (s == 0) {
            append(plan.h, call.h_0, call.sizes.P, rows);
            continue;
        }
        const int64_t before = steps.time(s - 1), there = std::min(rows, steps.rows(before));
        append(plan.h, call.y.at(steps, before, 0), y_row, there);
        append(plan.h, call.h_0 + there * call.sizes.P, call.sizes.P, rows - there);
    }
    return plan;
}

// What a backward pass with checkpoints computes again, a segment at a time.
template <class T>
struct Recompute {
    Forward<T> f;
    const BackwardCall<T>& call;
    int64_t steps;  // of a segment

    // All ranks together; a barrier stands before and after.
    void run(const Kernels<T>& kernels, const Share& share, Team& team, bool by_units, int64_t begin) const {
        const Sizes& n = call.sizes;
        Forward<T> part = f;
        part.begin = begin;
        part.end = std::min(begin + steps, call.steps.T);
        part.saved = call.steps.start(call.steps.reverse ? call.steps.time(part.end - 1) : begin);
        const int64_t first = n.B * share.rank / share.size, last = n.B * (share.rank + 1) / share.size;
        copy_or_zero(f.c, call.checkpoints + begin / call.every * n.B * n.H, first * n.H, last * n.H);
        for (int64_t b = first; b < last; ++b) {
            const T* h = call.h_0 + b * n.P;
            std::memcpy(f.h[1 - begin % 2] + b * n.P, h, n.P * sizeof(T));
            if (begin > 0 && b < call.steps.rows(call.steps.time(begin - 1)))
                h = call.y.at(call.steps, call.steps.time(begin - 1), b);
            std::memcpy(f.h[begin % 2] + b * n.P, h, n.P * sizeof(T));
        }
        team.barrier();
        kernels.forward(part, share, by_units ? &team : nullptr);
    }
};

}  // namespace

template <class T>
void run_backward(const Kernels<T>& kernels, const BackwardCall<T>& call) {
    const Sizes& n = call.sizes;
    const int64_t T_ = call.steps.T, width = kernels.width, blocks = blocks_of(n.H, width);
    Plan plan = plan_for(n, call.threads, call.split, kGroup * width, sizeof(T));
    const int64_t per_chunk = chunk_steps(n, sizeof(T));
    std::vector<ChunkPlan<T>> chunks;
    int64_t most_rows = 0;
    for (int64_t begin = 0; begin < T_; begin += per_chunk) {
        chunks.push_back(plan_chunk(call, begin, std::min(T_, begin + per_chunk)));
        most_rows = std::max(most_rows, chunks.back().rows);
    }

    const Packed<T> packed(kernels, n, call.checkpoints || (call.dx.data && n.D <= kNarrowInput), true);
    const int64_t lanes = blocks * width;
    const Workspace<T> dgates(2 * most_rows * 4 * lanes);
    const Workspace<T> dW_ih(call.dW_ih ? 4 * lanes * n.D : 0), dW_hh(call.dW_hh ? 4 * lanes * n.P : 0),
        db(call.db ? 4 * lanes : 0);
    const Workspace<T> dhidden(n.projected ? n.B * n.H : 0), dprojected(n.projected ? 2 * most_rows * n.P : 0),
        hidden(n.projected ? 2 * most_rows * lanes : 0);

    Backward<T> b{};
    b.sizes = n;
    b.steps = call.steps;
    b.panels = packed.panels();
    b.x = call.x;
    b.y = call.y;
    b.h_0 = call.h_0;
    b.c_0 = call.c_0;
    b.gates = call.gates;
    b.cell = call.cell;
    b.dy = call.dy;
    b.dgates_in = call.dgates;
    b.dcell_in = call.dcell;
    b.dh = call.dh_0;
    b.dc = call.dc_0;
    b.dx = call.dx;
    b.dW_ih = dW_ih.get();
    b.dW_hh = dW_hh.get();
    b.dW_hr = call.dW_hr;
    b.db = db.get();

    // With checkpoints: room for the steps of one segment.
    const bool again = call.checkpoints != nullptr;
    const int64_t segment = again ? std::min(call.every, T_) : T_;
    const Workspace<T> kept(again ? segment * n.B * 5 * n.H : 0), state(again ? n.B * (2 * n.P + n.H) : 0),
        projecting(again && n.projected ? n.B * n.H : 0);
    Recompute<T> recompute{{}, call, segment};
    if (again) {
        Forward<T>& f = recompute.f;
        f.sizes = n;
        f.steps = call.steps;
        f.panels = packed.panels();
        f.x = call.x;
        f.h[0] = state.get();
        f.h[1] = state.get() + n.B * n.P;
        f.c = state.get() + 2 * n.B * n.P;
        f.gates = kept.get();
        f.cell = kept.get() + segment * n.B * 4 * n.H;
        f.hidden = projecting.get();
        b.gates = f.gates;
        b.cell = f.cell;
    }

    run_team(plan.threads, [&](int rank, Team& team) {
        const int size = team.size();
        packed.pack(call.weights, rank, size);
        const auto zero = [&](T* data, int64_t count) {
            if (data) copy_or_zero<T>(data, nullptr, count * rank / size, count * (rank + 1) / size);
        };
        zero(b.dW_ih, 4 * lanes * n.D);
        zero(b.dW_hh, 4 * lanes * n.P);
        zero(b.db, 4 * lanes);
        zero(b.dW_hr, n.P * n.H);
        const int64_t begin = n.B * rank / size, end = n.B * (rank + 1) / size;
        copy_or_zero(b.dh, call.dh_n, begin * n.P, end * n.P);
        copy_or_zero(b.dc, call.dc_n, begin * n.H, end * n.H);
        if (rank == 0) plan.cut_rows(call.steps, size);
        team.barrier();
        const Share share = plan.share(rank, size, n.B, blocks, kGroup);
        Backward<T> mine = b;
        for (int64_t k = static_cast<int64_t>(chunks.size()) - 1; k >= 0; --k) {
            const ChunkPlan<T>& chunk = chunks[k];
            if (again && (k + 1 == static_cast<int64_t>(chunks.size()) || chunk.end % segment == 0)) {
                const int64_t first = chunk.begin / segment * segment;
                mine.first = first;
                mine.c_before = call.checkpoints + first / call.every * n.B * n.H;
                mine.saved = call.steps.start(
                    call.steps.reverse ? call.steps.time(std::min(first + segment, T_) - 1) : first);
                team.barrier();
                recompute.run(kernels, share, team, plan.by_units, first);
                team.barrier();
            }
            // Two buffers in turn, so that one barrier a chunk is enough.
            const int64_t turn = k % 2;
            const Chunk<T> here{chunk.begin,
                                chunk.end,
                                chunk.rows,
                                chunk.first.data(),
                                dgates.get() + turn * most_rows * 4 * lanes,
                                dhidden.get(),
                                dprojected.get() ? dprojected.get() + turn * most_rows * n.P : nullptr,
                                hidden.get() ? hidden.get() + turn * most_rows * lanes : nullptr,
                                chunk.x.data(),
                                chunk.h.data(),
                                static_cast<int64_t>(chunk.x.size()),
                                static_cast<int64_t>(chunk.h.size())};
            kernels.adjoint(mine, here, share, plan.by_units ? &team : nullptr);
            team.barrier();
            kernels.products(mine, here, rank, size);
        }
        team.barrier();
        kernels.unpack(b, call.dW_ih, call.dW_hh, call.db, rank, size);
    });
}

template void run_forward<float>(const Kernels<float>&, const ForwardCall<float>&);
template void run_forward<double>(const Kernels<double>&, const ForwardCall<double>&);
template void run_backward<float>(const Kernels<float>&, const BackwardCall<float>&);
template void run_backward<double>(const Kernels<double>&, const BackwardCall<double>&);
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
