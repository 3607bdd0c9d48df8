// From the input of a call to what the first layer reads.
#include <algorithm>
#include <cmath>
#include <limits>

#include "stream/stream.h"

namespace gatewright {

namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

}  // namespace

// The numbers that the model reads of the targets of a row, all in the units of the training part.
//   own  (targets): what add_seasons() needs of the row, or null
float* Stream::encode_targets(int64_t session, const double* row, float* x, float* level, float* own) {
    const Columns& n = model_->columns;
    double* const before = last(session);
    if (n.change)
        for (int64_t k = 0; k < n.targets; ++k) {
            const double change = (n.transformed(row[k], k) - n.transformed(before[k], k)) / n.change_scale[k];
            *x++ = std::isnan(change) ? 0.0f : static_cast<float>(change);
        }
    for (int64_t k = 0; k < n.targets; ++k) {
        if (!std::isnan(row[k])) before[k] = row[k];
        const double scaled = (n.transformed(before[k], k) - n.mean[k]) / n.scale[k];
        level[k] = std::isnan(before[k]) ? 0.0f : static_cast<float>(scaled);
        if (own) own[k] = std::isnan(before[k]) ? kMissing : level[k];
    }
    return n.level ? std::copy_n(level, n.targets, x) : x;
}

// The same in the units of the session's window.
//   placed  (2, targets): last observed values, transformed, and scales
float* Stream::encode_windows(int64_t session, const double* row, float* x, double* placed, float* own) {
    const Columns& n = model_->columns;
    double* const before = last(session);
    float* const level = n.change ? x + n.targets : x;
    for (int64_t k = 0; k < n.targets; ++k) {
        const Placed at = n.window.read(k, n.transformed(row[k], k), n.transformed(before[k], k), n.mean[k],
                                        n.change_scale[k], n.scale[k], before + n.targets + k * kWindowNumbers);
        if (!std::isnan(row[k])) before[k] = row[k];
        if (n.change) x[k] = static_cast<float>(at.change);
        if (n.level) level[k] = static_cast<float>(at.level);
        placed[k] = at.last;
        placed[n.targets + k] = at.scale;
        if (own) own[k] = at.recent;
    }
    return x + (n.change + n.level) * n.targets;
}

// The numbers that the model reads, from a row of a table: as the training's encoder makes them, to the same bits.
void Stream::encode_row(int64_t session, const double* row, float* x, float* level, double* placed, float* own) {
    const Columns& n = model_->columns;
    const auto scaled = [&](double value, int64_t column) { return (value - n.mean[column]) / n.scale[column]; };
    x = n.window ? encode_windows(session, row, x, placed, own) : encode_targets(session, row, x, level, own);
    if (n.observed)
        for (int64_t k = 0; k < n.targets; ++k) *x++ = std::isnan(row[k]) ? 0.0f : 1.0f;
    row += n.targets;
    int64_t input = 0;
    auto category = n.categories.begin();
    // Reads the next input, of which a row has some steps; the scaler has its numbers at `column`.
    const auto read = [&](int64_t column, int64_t steps) {
        if (category != n.categories.end() && category->input == input) {
            for (int64_t k = 0; k < steps; ++k)
                x = std::copy_n(category->vectors.data() + static_cast<int64_t>(*row++) * category->size,
                                category->size, x);
            ++category;
        } else {
            for (int64_t k = 0; k < steps; ++k) *x++ = static_cast<float>(scaled(*row++, column));
        }
        ++input;
    };
    for (int64_t k = 0; k < n.past; ++k) read(n.targets + k, 1);
    for (int64_t k = 0; k < n.statics; ++k) read(n.targets + n.past + n.known + k, 1);
    for (int64_t k = 0; k < n.phases; ++k) *x++ = static_cast<float>(*row++);
    for (int64_t k = 0; k < n.known; ++k) read(n.targets + n.past + k, n.horizon);
}

// Sums up the seasonal differences of a step, times their weights: for each season m and step ahead j, of row
// t + j - m less row t - m; nothing where that row was not seen.
void Stream::add_seasons(int64_t session, int64_t step, const double* placed, float* seasonal) {
    const Columns& n = model_->columns;
    std::fill_n(seasonal, n.horizon * n.targets, 0.0f);
    // In units of the window, if the targets have its scale.
    const auto in_window = [&](float difference, int64_t k) {
        return n.window ? static_cast<float>(difference * (n.scale[k] / placed[n.targets + k])) : difference;
    };
    const float* weight = n.season_weight.data();
    for (const int64_t season : n.seasons) {
        const float* const before = recent(session, std::max<int64_t>(step - season, 0));
        const int64_t first = step < season ? 0 : (step - season + 1) % n.recent();
        int64_t place = first;
        for (int64_t j = 0; j < n.horizon; ++j) {
            const float* const after = recent_.data() + session * recent_width() + place * n.targets;
            for (int64_t k = 0; k < n.targets; ++k, ++weight)
                if (step >= season && !std::isnan(before[k]))
                    seasonal[j * n.targets + k] += *weight * in_window(after[k] - before[k], k);
            // Beyond a season its rows come again.
            if (++place == n.recent()) place = 0;
            if ((j + 1) % season == 0) place = first;
        }
    }
}

namespace {

// Copies a row of features, with the vector of each category in place of its index.
void encode_features(const Columns& n, const float* row, float* x) {
    int64_t input = 0;
    for (const Category& each : n.categories) {
        x = std::copy(row + input, row + each.input, x);
        x = std::copy_n(each.vectors.data() + static_cast<int64_t>(row[each.input]) * each.size, each.size, x);
        input = each.input + 1;
    }
    std::copy(row + input, row + n.past, x);
}

}  // namespace

Rows<const float> Stream::encode(const Advance& call, const Part& part, Scratch& s) {
    const int64_t D = model_->layers_[0].sizes.D, width = model_->input_width();
    if (model_->reads == Reads::features && model_->columns.categories.empty()) {
        const float* const x = static_cast<const float*>(call.input);
        return {x + (part.first_step * call.B + part.first_row) * D, call.B * D, D};
    }
    for (int64_t t = 0; t < part.steps; ++t)
        for (int64_t b = 0; b < part.rows; ++b) {
            const int64_t from = (part.first_step + t) * call.B + part.first_row + b, to = t * part.rows + b;
            float* const x = s.x.data() + to * D;
            if (model_->reads == Reads::symbols) {
                const int64_t symbol = static_cast<const int64_t*>(call.input)[from];
                std::copy_n(model_->embedding_.data() + symbol * D, D, x);
            } else if (model_->reads == Reads::features) {
                encode_features(model_->columns, static_cast<const float*>(call.input) + from * width, x);
            } else {
                const Columns& n = model_->columns;
                const int64_t session = call.sessions[part.first_row + b];
                const int64_t step = steps(session) + part.first_step + t;
                float* const level = s.level.data() + to * n.targets;
                float* const own = n.recent() ? recent(session, step) : nullptr;
                double* const placed = n.window ? s.placed.data() + 2 * to * n.targets : nullptr;
                encode_row(session, static_cast<const double*>(call.input) + from * width, x, level, placed, own);
                if (own) add_seasons(session, step, placed, s.seasonal.data() + to * n.horizon * n.targets);
            }
        }
    return {s.x.data(), part.rows * D, D};
}

}  // namespace gatewright
