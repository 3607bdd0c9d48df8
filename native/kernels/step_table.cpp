#include "kernels/step_table.h"

#include <algorithm>

namespace gatewright {

StepPlan::StepPlan(int64_t T, int64_t B, const int64_t* lengths, const uint8_t* mask, const uint8_t* reset,
                   bool reverse) {
    if (lengths && std::any_of(lengths, lengths + B, [T](int64_t length) { return length != T; }))
        lengths_.assign(lengths, lengths + B);
    if (mask && std::any_of(mask, mask + T * B, [](uint8_t there) { return !there; }))
        mask_.assign(mask, mask + T * B);
    if (reset) reset_.assign(reset, reset + T * B);
    const auto or_null = [](const auto& v) { return v.empty() ? nullptr : v.data(); };
    table_ = {T,       B,       reverse,        nullptr,         nullptr,
              nullptr, nullptr, or_null(mask_), or_null(reset_), or_null(lengths_),
              true};
    if (lengths_.empty() && mask_.empty()) {
        table_.before = table_.reset;  // true is kCut
        return;
    }
    place_steps(sort_rows(counts()));
    table_.order = order_.data();
    table_.places = places_.data();
    if (!reset_.empty() || !mask_.empty()) {
        table_.before = before_.data();
        table_.after = after_.data();
    }
}

// Steps that each of the caller's rows has.
std::vector<int64_t> StepPlan::counts() const {
    std::vector<int64_t> counts(table_.B);
    for (int64_t b = 0; b < table_.B; ++b) counts[b] = table_.length(b);
    if (mask_.empty()) return counts;
    std::fill(counts.begin(), counts.end(), 0);
    for (int64_t t = 0; t < table_.T; ++t)
        for (int64_t b = 0; b < table_.B; ++b) counts[b] += table_.has_step(t, b);
    return counts;
}

// Orders rows by their counts, most first, and returns the place of each of the caller's rows in that order.
std::vector<int64_t> StepPlan::sort_rows(const std::vector<int64_t>& counts) {
    const int64_t T = table_.T, B = table_.B;
    std::vector<int64_t> with(T + 2, 0);  // rows with this many steps or more
    for (const int64_t count : counts) ++with[count];
    for (int64_t count = T; count >= 0; --count) with[count] += with[count + 1];
    std::vector<int64_t> next(with.begin() + 1, with.end()), ranks(B);
    order_.resize(std::max<int64_t>(B, 1));
    for (int64_t b = 0; b < B; ++b) {
        ranks[b] = next[counts[b]]++;
        order_[ranks[b]] = b;
    }
    starts_.push_back(0);
    for (int64_t s = 0; s < T && with[s + 1] > 0; ++s) {
        sizes_.push_back(with[s + 1]);
        starts_.push_back(starts_.back() + with[s + 1]);
    }
    return ranks;
}

// Walks through time once, all rows together.
void StepPlan::place_steps(const std::vector<int64_t>& ranks) {
    const int64_t T = table_.T, B = table_.B, steps = starts_.back();
    places_.resize(std::max<int64_t>(steps, 1));
    before_.assign(std::max<int64_t>(steps, 1), 0);
    after_.assign(std::max<int64_t>(B, 1), 0);
    std::vector<int64_t> done(B, 0);
    for (int64_t n = 0; n < T; ++n) {
        const int64_t t = table_.reverse ? T - 1 - n : n;
        for (int64_t b = 0; b < B; ++b) {
            if (t >= table_.length(b)) continue;
            uint8_t& pending = after_[ranks[b]];
            if (table_.resets(t, b)) pending |= kCut;
            if (!table_.has_step(t, b)) {
                pending |= kGap;
                continue;
            }
            const int64_t at = starts_[done[b]++] + ranks[b];
            places_[at] = {static_cast<int32_t>(t), static_cast<int32_t>(b)};
            before_[at] = pending;
            pending = 0;
        }
    }
}

}  // namespace gatewright
