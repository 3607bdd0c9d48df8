// Steps that each row has for itself: rows of unequal length, steps that a mask leaves out, resets of the state.
//
// The steps of a row are compacted: step s of a walk is the s-th that a row has.  Rows are ordered by how many
// they have, most first, so that step s has the rows 0 .. rows(s) - 1, as Steps says; a walk in reverse has each
// row's steps from its last to its first, and goes through the table as a forward one does.
#pragma once

#include <vector>

#include "kernels/storage.h"

namespace gatewright {

// Where a step stands in arrays of (T, B, width).
struct Place {
    int32_t t, b;
};

// What is between a row's step and the one before it.
constexpr uint8_t kCut = 1;  // the step starts from the reset state
constexpr uint8_t kGap = 2;  // a mask leaves out one time at least

struct StepTable {
    int64_t T, B;
    bool reverse;                 // of the caller's time
    const int64_t* order;         // (B): the caller's row of each row; null: the same
    const Place* places;          // of row r at step s: [start(s) + r]; null: (time, row), as without a table
    const uint8_t* before;        // the same of kCut and kGap; null: neither anywhere
    const uint8_t* after;         // (B): the same after the last step of row r; null: neither anywhere
    const uint8_t *mask, *reset;  // (T, B), of the caller's rows; null: all there, none reset
    const int64_t* lengths;       // (B), of the caller's rows; null: T each
    // Whether gates and cells that are kept stand as x does, and not step after step.
    bool kept_in_place;

    GATEWRIGHT_INLINE int64_t caller(int64_t row) const { return order ? order[row] : row; }
    GATEWRIGHT_INLINE int64_t length(int64_t b) const { return lengths ? lengths[b] : T; }
    GATEWRIGHT_INLINE bool has_step(int64_t t, int64_t b) const {
        return t < length(b) && (!mask || mask[t * B + b]);
    }
    GATEWRIGHT_INLINE bool resets(int64_t t, int64_t b) const { return reset && reset[t * B + b]; }

    // Calls visit(t) for the times of row b that a mask leaves out between two times of a walk, last one first;
    // -1 stands for the walk's beginning, T for its end.
    template <class Visit>
    GATEWRIGHT_INLINE void back_through_gap(int64_t b, int64_t from, int64_t to, const Visit& visit) const {
        if (reverse)
            for (int64_t t = to == T ? 0 : to + 1; t < (from < 0 ? length(b) : from); ++t) visit(t);
        else
            for (int64_t t = (to == T ? length(b) : to) - 1; t > from; --t) visit(t);
    }
};

// The memory of a table, made from what a caller says of its rows.
class StepPlan {
  public:
    // mask, reset: (T, B), contiguous, or null; lengths: (B), 0 .. T each, or null.  All are copied.
    StepPlan(int64_t T, int64_t B, const int64_t* lengths, const uint8_t* mask, const uint8_t* reset,
             bool reverse);
    StepPlan(const StepPlan&) = delete;
    StepPlan& operator=(const StepPlan&) = delete;

    const StepTable& table() const { return table_; }
    StepTable& table() { return table_; }

    // Steps of the walk: the most that a row has, with rows each and starts; null where all rows have all steps.
    int64_t steps() const {
        return places_.empty() && table_.order == nullptr ? table_.T : int64_t(sizes_.size());
    }
    const int64_t* sizes() const { return table_.order ? sizes_.data() : nullptr; }
    const int64_t* starts() const { return table_.order ? starts_.data() : nullptr; }

  private:
    std::vector<int64_t> lengths_, order_, sizes_, starts_;
    std::vector<uint8_t> mask_, reset_, before_, after_;
    std::vector<Place> places_;
    StepTable table_{};

    std::vector<int64_t> counts() const;
    std::vector<int64_t> sort_rows(const std::vector<int64_t>& counts);
    void place_steps(const std::vector<int64_t>& ranks);
};

}  // namespace gatewright
