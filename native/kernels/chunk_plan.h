// Chunks of a backward pass: which steps each has, and where its rows of x and h stand.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/sequence.h"

namespace gatewright {

// Chunks of a backward pass with what they need to know about their rows.
template <class S>
struct ChunkPlan {
    using In = typename Stored<S>::In;

    int64_t begin, end, rows;
    std::vector<int64_t> first;
    std::vector<Segment<In>> x, h;
};

template <class In>
void append(std::vector<Segment<In>>& segments, In data, int64_t row, int64_t count) {
    if (count == 0) return;
    if (!segments.empty()) {
        Segment<In>& last = segments.back();
        if (last.row == row && data == last.data + last.count * row) {
            last.count += count;
            return;
        }
    }
    segments.push_back({data, row, count});
}

template <class T, class S>
ChunkPlan<S> plan_chunk(const BackwardCall<T, S>& call, int64_t begin, int64_t end) {
    using In = typename Stored<S>::In;
    const Steps& steps = call.steps;
    const int64_t sign = steps.reverse ? -1 : 1;
    // With one row a step, the distance between rows is that between steps.
    const bool single = steps.B == 1 && !steps.starts;
    const int64_t x_row = single ? sign * call.x.step : call.x.row,
                  y_row = single ? sign * call.y.step : call.y.row;
    ChunkPlan<S> plan{begin, end, 0, {0}, {}, {}};
    for (int64_t s = begin; s < end; ++s) {
        const int64_t t = steps.time(s), rows = steps.rows(t);
        plan.rows += rows;
        plan.first.push_back(plan.rows);
        append(plan.x, call.x.at(steps, t, 0), x_row, rows);
        if (s == 0) {
            append(plan.h, In(call.h_0), call.sizes.P, rows);
            continue;
        }
        const int64_t before = steps.time(s - 1), there = std::min(rows, steps.rows(before));
        append(plan.h, call.y.at(steps, before, 0), y_row, there);
        append(plan.h, In(call.h_0 + there * call.sizes.P), call.sizes.P, rows - there);
    }
    return plan;
}

// The same of a table, row by row: a step stands where the table says, and h before it may be the reset state.
template <class T, class S>
ChunkPlan<S> plan_chunk(const BackwardCall<T, S>& call, const ResetState<T>& reset, int64_t begin, int64_t end) {
    using In = typename Stored<S>::In;
    const Steps& steps = call.steps;
    const StepTable& table = *call.table;
    const Sizes& n = call.sizes;
    const auto place = [&](int64_t s, int64_t row) {
        if (table.places) return table.places[steps.start(s) + row];
        return Place{static_cast<int32_t>(steps.time(s)), static_cast<int32_t>(row)};
    };
    ChunkPlan<S> plan{begin, end, 0, {0}, {}, {}};
    for (int64_t s = begin; s < end; ++s) {
        const int64_t t = steps.time(s), rows = steps.rows(t);
        plan.rows += rows;
        plan.first.push_back(plan.rows);
        for (int64_t row = 0; row < rows; ++row) {
            const Place here = place(s, row);
            append(plan.x, call.x.at(here), call.x.row, 1);
            if (table.before && table.before[steps.start(t) + row] & kCut)
                append(plan.h, In(reset.h + here.b * reset.h_row), reset.h_row, 1);
            else if (s == 0)
                append(plan.h, In(call.h_0 + here.b * n.P), n.P, 1);
            else
                append(plan.h, call.y.at(place(s - 1, row)), call.y.row, 1);
        }
    }
    return plan;
}

// Chunks of about as many rows as there are without a table, and none across a checkpoint.
template <class T, class S>
std::vector<ChunkPlan<S>> plan_chunks(const BackwardCall<T, S>& call, const ResetState<T>& reset) {
    const int64_t most = chunk_steps(call.sizes, kOperandBytes<T, S>) * std::max<int64_t>(call.sizes.B, 1);
    const Steps& steps = call.steps;
    std::vector<ChunkPlan<S>> chunks;
    for (int64_t begin = 0, end; begin < steps.T; begin = end) {
        int64_t rows = steps.rows(steps.time(begin));
        for (end = begin + 1; end < steps.T; ++end) {
            rows += steps.rows(steps.time(end));
            if (rows > most || (call.checkpoints && end % call.every == 0)) break;
        }
        chunks.push_back(plan_chunk(call, reset, begin, end));
    }
    if (chunks.empty()) chunks.push_back({0, 0, 0, {0}, {}, {}});  // gradients still go from the end to the start
    return chunks;
}

template <class T, class S>
std::vector<ChunkPlan<S>> plan_chunks(const BackwardCall<T, S>& call) {
    const int64_t steps = chunk_steps(call.sizes, kOperandBytes<T, S>);
    std::vector<ChunkPlan<S>> chunks;
    for (int64_t begin = 0; begin < call.steps.T; begin += steps)
        chunks.push_back(plan_chunk(call, begin, std::min(call.steps.T, begin + steps)));
    return chunks;
}

template <class S>
int64_t most_rows_of(const std::vector<ChunkPlan<S>>& chunks) {
    int64_t most = 0;
    for (const ChunkPlan<S>& chunk : chunks) most = std::max(most, chunk.rows);
    return most;
}

}  // namespace gatewright
