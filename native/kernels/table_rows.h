// What whole calls do around a walk through a table of steps: rows of states into its order and back, and the
// times at which a row has no step.
#pragma once

#include <cstring>
#include <vector>

#include "kernels/packed.h"
#include "kernels/sequence.h"
#include "kernels/slstm_ends.h"

namespace gatewright {

// Rows begin .. end - 1 of a walk, of `width` numbers: from the caller's rows; null: zeros.
template <class T>
void gather_rows(const StepTable& table, T* to, const T* from, int64_t width, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
        copy_or_zero(to + row * width, from ? from + table.caller(row) * width : nullptr, 0, width);
}

// And to the caller's rows; null: not wanted.
template <class T>
void scatter_rows(const StepTable& table, T* to, const T* from, int64_t width, int64_t begin, int64_t end) {
    for (int64_t row = begin; to && row < end; ++row)
        std::memcpy(to + table.caller(row) * width, from + row * width, width * sizeof(T));
}

// The state that a reset sets, where a call gives it or zeros, of which `zeros` has as many as a row.
template <class T, class Call>
ResetState<T> reset_state(const Call& call, const T* zeros) {
    const Sizes& n = call.sizes;
    return {call.h_reset ? call.h_reset : zeros, call.c_reset ? call.c_reset : zeros, call.h_reset ? n.P : 0,
            call.c_reset ? call.variant.cell_rows() * n.H : 0};
}

template <class Out>
void put_zeros(Out to, int64_t width) {
    std::memset(const_cast<void*>(address(to)), 0, width * bytes_of(to));
}

template <class T>
void put_numbers(T* to, const T* from, int64_t width) {
    std::memcpy(to, from, width * sizeof(T));
}
inline void put_numbers(Either<std::byte> to, const float* from, int64_t width) {
    if (!to.narrow)
        std::memcpy(to.data, from, width * sizeof(float));
    else
        for (int64_t k = 0; k < width; ++k) to.bfloat16()[k] = to_bfloat16(from[k]);
}

// What a state is where a row has no step: that after its last one, in these arrays, or the one it began with.
template <class T, class Out>
struct Carried {
    Out last{};
    const T* first;

    void put(Out to, int64_t width) const {
        if (last)
            std::memcpy(const_cast<void*>(address(to)), address(last), width * bytes_of(to));
        else if (first)
            put_numbers(to, first, width);
        else
            put_zeros(to, width);
    }
};

// c of some of the caller's rows as a record has it, or with the sLSTM c / n, `width` apart; null: zeros.
template <class T>
struct RecordedStates {
    std::vector<T> averages;
    const T* first;  // row 0
    int64_t width;

    RecordedStates(bool slstm, const T* c, int64_t row, int64_t H, int64_t begin, int64_t end)
        : first(c), width(row) {
        if (!slstm || !c) return;
        averages.resize((end - begin) * H);
        for (int64_t b = begin; b < end; ++b)
            average_rows(averages.data() + (b - begin) * H, c + b * row, H, 0, 1);
        first = averages.data() - begin * H;
        width = H;
    }
    const T* row(int64_t b) const { return first ? first + b * width : nullptr; }
};

// y, and with them gates and cells of a record, of some of the caller's rows at the times at which these have no
// step.  Past a row's end all is zero; over what a mask leaves out the state is carried, f is one, and no other
// gate does anything.
template <class T, class S>
void fill_absent(const ForwardCall<T, S>& call, const ResetState<T>& reset, int64_t begin, int64_t end) {
    using Out = typename Stored<S>::Out;
    const StepTable& table = *call.table;
    if (!table.places) return;
    const Sizes& n = call.sizes;
    const Rows<S, Out> gates{call.gates, table.B * 4 * n.H, 4 * n.H}, cell{call.cell, table.B * n.H, n.H};
    const bool record = call.fill_kept && call.gates;
    const bool slstm = call.variant.slstm;
    // The gate that is one: f, or that keep is one and share zero (slstm_cell.h).
    const std::vector<T> ones(record ? n.H : 0, slstm ? T(-0.0) : T(1));
    const int64_t place_of_ones = slstm ? 0 : n.H;
    const RecordedStates<T> c_0(slstm, record ? call.c_0 : nullptr, call.variant.cell_rows() * n.H, n.H, begin,
                                end);
    const RecordedStates<T> c_reset(slstm, record ? reset.c : nullptr, reset.c_row, n.H, begin, end);
    std::vector<Carried<T, Out>> h(end - begin), c(end - begin);
    for (int64_t b = begin; b < end; ++b) {
        h[b - begin].first = call.h_0 ? call.h_0 + b * n.P : nullptr;
        c[b - begin].first = c_0.row(b);
    }
    for (int64_t s = 0; s < table.T; ++s) {
        const int64_t t = table.reverse ? table.T - 1 - s : s;
        for (int64_t b = begin; b < end; ++b) {
            const Place place{static_cast<int32_t>(t), static_cast<int32_t>(b)};
            Carried<T, Out>&h_before = h[b - begin], &c_before = c[b - begin];
            if (t < table.length(b) && table.resets(t, b)) {
                h_before = {nullptr, reset.h + b * reset.h_row};
                c_before = {nullptr, c_reset.row(b)};
            }
            if (table.has_step(t, b)) {
                h_before.last = call.y.at(place);
                if (record) c_before.last = cell.at(place);
                continue;
            }
            const bool past = t >= table.length(b);
            if (past)
                put_zeros(call.y.at(place), n.P);
            else
                h_before.put(call.y.at(place), n.P);
            if (!record) continue;
            put_zeros(gates.at(place), 4 * n.H);
            if (past) {
                put_zeros(cell.at(place), n.H);
            } else {
                put_numbers(gates.at(place) + place_of_ones, ones.data(), n.H);
                c_before.put(cell.at(place), n.H);
            }
        }
    }
}

// The last states of some rows of a walk that a reset ends after their last step.
template <class T, class S>
void end_states(const ForwardCall<T, S>& call, const ResetState<T>& reset, int64_t begin, int64_t end) {
    const StepTable& table = *call.table;
    const Sizes& n = call.sizes;
    for (int64_t row = begin; table.after && row < end; ++row) {
        if (!(table.after[row] & kCut)) continue;
        const int64_t b = table.caller(row);
        put_numbers(call.h_n + b * n.P, reset.h + b * reset.h_row, n.P);
        const int64_t width = call.variant.cell_rows() * n.H;
        put_numbers(call.c_n + b * width, reset.c + b * reset.c_row, width);
    }
}

// dx of some of the caller's rows where these have no step: zeros.
template <class T, class S>
void clear_absent(const BackwardCall<T, S>& call, int64_t begin, int64_t end) {
    const StepTable& table = *call.table;
    if (!table.places || !call.dx.data) return;
    for (int64_t t = 0; t < table.T; ++t)
        for (int64_t b = begin; b < end; ++b)
            if (!table.has_step(t, b))
                put_zeros(call.dx.at(Place{static_cast<int32_t>(t), static_cast<int32_t>(b)}), call.sizes.D);
}

}  // namespace gatewright
