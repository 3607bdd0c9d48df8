// Memory that a walk with the general cell needs besides, and how threads divide it.
#pragma once

#include <vector>

#include "kernels/plan.h"
#include "support/workspace.h"

namespace gatewright {

// A row with layer norm is of one thread, which needs sums over all of its units.
template <class T>
Split split_for(const Variant<T>& variant, Split split) {
    return variant.gains ? Split::rows : split;
}

template <class T>
T value_of(const T* p) {
    return *p;
}
template <class T, class Byte>
T value_of(Either<Byte> p) {
    return p.narrow ? to_float(*p.bfloat16()) : *p.wide();
}

template <class T>
class VariantMemory {
  public:
    // lanes: H rounded up to whole vectors; rows: of which each thread has factors at once, at most; table: of the
    // walk, or null.
    VariantMemory(const Variant<T>& variant, const Sizes& n, int64_t lanes, int threads, int64_t rows,
                  const StepTable* table)
        : row_ids_(ordered_ids(variant.draws, table)),
          variant_(with_ids(variant, row_ids_)),
          masks_(variant.drawn(Purpose::hidden_dropout)),
          lanes_(lanes),
          rows_(rows),
          row_size_(n.P + kDrawn),
          factors_size_(draws_steps(variant) ? rows * kPurposes * (n.H + kDrawn) : 0),
          factors_(factors_size_ * threads),
          before_norm_(variant.gains ? rows * 4 * lanes * threads : 0),
          bias_(variant.gains ? 4 * lanes : 0),
          mask_(masks_ ? n.B * n.P : 0),
          masked_(masks_ ? n.B * n.P : 0),
          row_(masks_ ? row_size_ * threads : 0) {
        for (int64_t k = 0; bias_.get() && k < 4 * lanes; ++k) bias_.get()[k] = 0;
    }

    // Where a walk forward finds all of it; its panels are set.
    template <class S>
    void give(Forward<T, S>& f) const {
        f.variant = variant_;
        f.factors = factors_.get();
        f.factors_size = factors_size_;
        f.before_norm = before_norm_.get();
        f.before_norm_rows = rows_;
        f.mask = mask_.get();
        if (!f.variant.gains) return;
        f.variant.bias = f.panels.bias;
        f.panels.bias = bias_.get();
    }
    template <class S>
    void give(Backward<T, S>& b) const {
        b.variant = variant_;
        b.factors = factors_.get();
        b.factors_size = factors_size_;
        b.mask = mask_.get();
    }
    // Rows begin .. end - 1 of the mask on h, by a thread of this rank.
    template <class S>
    void draw_mask(const Kernels<T, S>& kernels, int64_t P, int64_t begin, int64_t end, int rank) const {
        if (masks_) kernels.hidden_mask(variant_, P, begin, end, row_.get() + rank * row_size_, mask_.get());
    }
    // Elements begin .. end - 1 of h (B, P) as products read it: in memory of the whole.
    const T* masked(const T* h, int64_t begin, int64_t end) const {
        if (!masks_) return h;
        for (int64_t k = begin; k < end; ++k) masked_.get()[k] = h[k] * mask_.get()[k];
        return masked_.get();
    }
    // Row b alone.
    template <class In>
    In masked_row(In h, int64_t b, int64_t P) const {
        if (!masks_) return h;
        T* const row = masked_.get() + b * P;
        for (int64_t k = 0; k < P; ++k) row[k] = value_of<T>(h + k) * mask_.get()[b * P + k];
        return row;
    }

  private:
    const std::vector<int64_t> row_ids_;  // of the walk's rows, where these are not in the caller's order
    const Variant<T> variant_;
    const bool masks_;
    const int64_t lanes_, rows_, row_size_, factors_size_;
    const Workspace<T> factors_, before_norm_, bias_, mask_, masked_, row_;

    static std::vector<int64_t> ordered_ids(const Draws& draws, const StepTable* table) {
        std::vector<int64_t> ids;
        if (!draws.wanted || !table || !table->order) return ids;
        for (int64_t row = 0; row < table->B; ++row) ids.push_back(draws.row(table->caller(row)));
        return ids;
    }
    static Variant<T> with_ids(Variant<T> variant, const std::vector<int64_t>& ids) {
        if (!ids.empty()) variant.draws.rows = ids.data();
        return variant;
    }
    static bool draws_steps(const Variant<T>& variant) {
        return variant.drawn(Purpose::zoneout_cell) || variant.drawn(Purpose::zoneout_hidden) ||
               variant.drawn(Purpose::candidate_dropout);
    }
};

}  // namespace gatewright
