#include "stream/stream.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/sequence.h"
#include "support/subnormals.h"
#include "support/threads.h"

namespace gatewright {

namespace {

constexpr int64_t kRows = 48;                 // of a batch that walk together: eight tiles
constexpr int64_t kPlaces = 512;              // rows times steps that walk together
constexpr double kFarthest = 1e20;            // standard deviations that float holds, with room to compute in
constexpr int64_t kWorthThreads = 2'000'000;  // FLOPs of a call, below which waking a thread costs more

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

constexpr int64_t pairs_of(int64_t width) { return operands_of<uint32_t>(width); }

}  // namespace

Stream::Stream(std::shared_ptr<const Model> model, int64_t sessions)
    : model_(std::move(model)),
      sessions_(sessions),
      hidden_(sessions * model_->hidden_width()),
      cell_(sessions * model_->cell_width()),
      last_(sessions * model_->last_width(), kNaN),
      recent_(sessions * recent_width(), static_cast<float>(kNaN)),
      steps_(sessions),
      named_(sessions),
      scratch_(1) {
    reserve(1, 1, 1);
}

Stream::Stream(const Stream& other)
    : model_(other.model_),
      sessions_(other.sessions_),
      hidden_(other.hidden_),
      cell_(other.cell_),
      last_(other.last_),
      recent_(other.recent_),
      steps_(other.steps_),
      named_(other.sessions_),
      scratch_(1) {
    reserve(1, 1, 1);
}

void Stream::reset(int64_t session) {
    std::fill_n(hidden(session), model_->hidden_width(), 0.0f);
    std::fill_n(cell(session), model_->cell_width(), 0.0f);
    std::fill_n(last(session), model_->last_width(), kNaN);
    std::fill_n(recent_.data() + session * recent_width(), recent_width(), static_cast<float>(kNaN));
    steps(session) = 0;
}

void Stream::get_recent(int64_t session, float* to) const {
    const Columns& n = model_->columns;
    const float* const from = recent_.data() + session * recent_width();
    for (int64_t k = 0; k < n.recent(); ++k)
        std::copy_n(from + (steps_[session] + k) % n.recent() * n.targets, n.targets, to + k * n.targets);
}

void Stream::set_recent(int64_t session, const float* from) {
    const Columns& n = model_->columns;
    float* const to = recent_.data() + session * recent_width();
    for (int64_t k = 0; k < n.recent(); ++k)
        std::copy_n(from + k * n.targets, n.targets, to + (steps_[session] + k) % n.recent() * n.targets);
}

namespace {

bool finite(const float* x, int64_t count) {
    bool good = true;
    for (int64_t k = 0; k < count; ++k) good &= std::abs(x[k]) <= std::numeric_limits<float>::max();
    return good;
}

// Column of the first number of a category that is no index of a value, or -1.
template <class T>
int64_t fault_in_categories(const Columns& n, const T* row) {
    for (const Category& category : n.categories)
        for (int64_t k = n.place(category), end = k + n.steps(category); k < end; ++k)
            if (!(row[k] >= 0 && row[k] < static_cast<T>(category.count) && row[k] == std::floor(row[k])))
                return k;
    return -1;
}

// Column of the first number that a row of a table may not have, or -1.
int64_t fault_in_row(const Columns& n, const double* row) {
    const auto bad = [](double value, double mean, double scale) {
        return !(std::abs((value - mean) / scale) <= kFarthest);
    };
    const int64_t statics = n.targets + n.past, phases = statics + n.statics, known = phases + n.phases;
    for (int64_t k = 0; k < n.width(); ++k) {
        const double value = row[k];
        if (k < n.targets && std::isnan(value)) continue;
        // The scaler has known inputs before static ones.
        const int64_t column = k < statics  ? k
                               : k < phases ? k + n.known
                               : k < known  ? -1
                                            : statics + (k - known) / n.horizon;
        if (k < n.targets && bad(n.transformed(value, k), n.mean[k], n.scale[k])) return k;
        if (k < n.targets && n.window && !(std::abs(n.transformed(value, k)) <= kLargestValue)) return k;
        if (k < n.targets) continue;
        // Phases are read as they are.
        if (column < 0 ? bad(value, 0, 1) : bad(value, n.mean[column], n.scale[column])) return k;
    }
    return -1;
}

}  // namespace

Fault Stream::check(const Advance& call) {
    Fault fault;
    int64_t b = 0;
    for (; b < call.B; ++b) {
        const int64_t session = call.sessions[b];
        const bool there = session >= 0 && session < sessions_;
        if (!there || named_[session]) {
            fault = {there ? Fault::Kind::repeated : Fault::Kind::session, 0, b, 0};
            break;
        }
        named_[session] = 1;
    }
    while (b-- > 0) named_[call.sessions[b]] = 0;
    if (fault.kind != Fault::Kind::none) return fault;
    const int64_t width = model_->input_width();
    for (int64_t place = 0; place < call.T * call.B; ++place) {
        const int64_t t = place / call.B, row = place % call.B;
        if (model_->reads == Reads::symbols) {
            const int64_t symbol = static_cast<const int64_t*>(call.input)[place];
            if (symbol < 0 || symbol >= model_->symbols) return {Fault::Kind::symbol, t, row, 0};
        } else if (model_->reads == Reads::series) {
            const double* const values = static_cast<const double*>(call.input) + place * width;
            const int64_t category = fault_in_categories(model_->columns, values);
            if (category >= 0) return {Fault::Kind::category, t, row, category};
            const int64_t column = fault_in_row(model_->columns, values);
            if (column >= 0) return {Fault::Kind::value, t, row, column};
        } else {
            const float* const x = static_cast<const float*>(call.input) + place * width;
            const int64_t category = fault_in_categories(model_->columns, x);
            if (category >= 0) return {Fault::Kind::category, t, row, category};
            if (finite(x, width)) continue;
            int64_t column = 0;
            while (finite(x + column, 1)) ++column;
            return {Fault::Kind::value, t, row, column};
        }
    }
    return fault;
}

int64_t Stream::chunk_of(int64_t rows, int64_t T) const {
    return std::max<int64_t>(1, std::min(T, kPlaces / rows));
}

void Stream::make_room(Scratch& s, int64_t rows, int64_t places) {
    const bool several_steps = places > rows;
    if (rows <= s.rows && places <= s.places && (!several_steps || !s.ahead.empty())) return;
    rows = std::max(rows, s.rows);
    places = std::max(places, s.places);
    int64_t P = 0, H = 0, ahead = 0, operands = 0, h_kept = 0, before_norm = 0;
    for (const Model::Layer& layer : model_->layers_) {
        const Sizes& n = layer.sizes;
        const int64_t width = layer.width(), lanes = (n.H + width - 1) / width * width;
        P = std::max(P, n.P);
        H = std::max(H, n.H);
        ahead = std::max(ahead, most_ahead(lanes, sizeof(float)));
        if (layer.variant.keeps_hidden()) h_kept = std::max(h_kept, rows * n.P);
        if (layer.variant.gains) before_norm = std::max(before_norm, rows * 4 * lanes);
        if (std::holds_alternative<Model::Packed<BFloat16>>(layer.packed))
            operands = std::max(operands, places * pairs_of(n.D) + rows * (2 * pairs_of(n.P) + pairs_of(n.H)));
        if (layer.in_bytes()) operands = std::max(operands, places * quads_of(n.D) + rows * quads_of(n.P));
    }
    s.operands.resize(operands);
    s.h_kept.resize(h_kept);
    s.before_norm.resize(before_norm);
    if (model_->layers_[0].in_bytes()) s.scales.resize(rows + places);
    const Sizes& first = model_->layers_[0].sizes;
    if (model_->reads != Reads::features || !model_->columns.categories.empty()) s.x.resize(places * first.D);
    if (model_->pooling != Pooling::none) s.pooled.resize(places * P);
    for (int k = 0; k < 2; ++k) {
        s.y[k].resize(places * P);
        s.h[k].resize(rows * P);
    }
    s.c.resize(rows * H);
    s.hidden.resize(rows * H);
    if (several_steps) s.ahead.resize(ahead);
    s.out.resize(places * std::max(model_->head_.out, model_->output_width()));
    s.level.resize(places * model_->columns.targets);
    if (model_->columns.window) s.placed.resize(2 * places * model_->columns.targets);
    if (model_->columns.recent()) s.seasonal.resize(places * model_->columns.horizon * model_->columns.targets);
    // Last: where memory ended on the way, the next call must not take this room for granted.
    s.rows = rows;
    s.places = places;
}

void Stream::reserve(int64_t B, int64_t T, int threads) {
    if (static_cast<int>(scratch_.size()) < threads) scratch_.resize(threads);
    const int64_t rows = std::max<int64_t>(1, std::min(kRows, B));
    // Fewer rows than these, as at the end of a batch, walk more steps together, and may take more places.
    const int64_t places = std::max(rows, std::min(kPlaces, rows * T));
    for (int k = 0; k < threads; ++k) make_room(scratch_[k], rows, places);
}

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
        if (own) own[k] = std::isnan(before[k]) ? static_cast<float>(kNaN) : level[k];
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

// Sets what the walk needs of another cell than the plain one; h_last where that is not set yet.
template <class S>
void Stream::set_variant(Forward<float, S>& f, Scratch& s, const Variant<float>& variant) const {
    f.variant = variant;
    f.before_norm = s.before_norm.data();
    f.before_norm_rows = f.sizes.B;
    if (f.h_last || !variant.keeps_hidden()) return;
    f.h_last = s.h_kept.data();
    std::copy_n(s.h[0].data(), f.sizes.B * f.sizes.P, f.h_last);
}

template <class S>
void Stream::run_layer(const Advance& call, const Part& part, Scratch& s, const Place& place,
                       const Model::Packed<S>& packed, const Rows<const float>& x, float* y) {
    constexpr bool kNarrow = std::is_same_v<S, BFloat16>;
    const int64_t H = place.sizes.H, P = place.sizes.P, width = packed.kernels->width;
    const int64_t blocks = (H + width - 1) / width, rows = part.rows;
    Forward<float, S> f{};
    f.sizes = place.sizes;
    f.sizes.T = part.steps;
    f.sizes.B = rows;
    f.steps = {part.steps, rows, nullptr, nullptr, false};
    f.end = part.steps;
    f.panels = packed.panels;
    f.x = {x.data, x.step, x.row};
    f.y = {y, rows * P, P};
    f.c = s.c.data();
    if (part.steps > 1) f.ahead_steps = ahead_steps(f.sizes, part.steps, rows, blocks * width, sizeof(float));
    f.ahead_size = f.ahead_steps * rows * blocks * width * 4;
    f.ahead = f.ahead_steps ? s.ahead.data() : nullptr;
    if (call.gates) {
        s.gates.resize(part.steps * rows * 4 * H);
        s.kept.resize(part.steps * rows * H);
        f.gates = s.gates.data();
        f.cell = s.kept.data();
    }
    for (int64_t b = 0; b < rows; ++b) {
        const int64_t session = call.sessions[part.first_row + b];
        std::copy_n(hidden(session) + place.hidden, P, s.h[0].data() + b * P);
        std::copy_n(cell(session) + place.cell, H, f.c + b * H);
    }
    const float* h = s.h[part.steps % 2].data();  // where the last step leaves it
    if constexpr (kNarrow) {
        f.h[0] = s.operands.data();
        f.h[1] = f.h[0] + rows * pairs_of(P);
        f.hidden = f.h[1] + rows * pairs_of(P);
        f.operands = f.hidden + rows * pairs_of(H);
        f.h_last = s.h[0].data();
        h = f.h_last;
    } else {
        f.h[0] = s.h[0].data();
        f.h[1] = s.h[1].data();
        f.hidden = s.hidden.data();
        f.h_bytes = {s.operands.data(), s.scales.data(), rows};
        f.x_bytes = {f.h_bytes.data + rows * quads_of(P), f.h_bytes.scales + rows, part.steps * rows};
    }
    set_variant(f, s, place.variant);
    {
        const FlushSubnormals flush(kNarrow);
        if constexpr (kNarrow) packed.kernels->operands(h, P, P, f.h[0], rows);
        packed.forward(f, {0, 1, 0, rows, 0, blocks}, nullptr);
    }
    for (int64_t b = 0; b < rows; ++b) {
        const int64_t session = call.sessions[part.first_row + b];
        std::copy_n(h + b * P, P, hidden(session) + place.hidden);
        std::copy_n(f.c + b * H, H, cell(session) + place.cell);
    }
    if (!call.gates) return;
    for (int64_t t = 0; t < part.steps; ++t) {
        const int64_t row = (part.first_step + t) * call.B + part.first_row;
        std::copy_n(s.gates.data() + t * rows * 4 * H, rows * 4 * H,
                    call.gates + (place.cell * call.T * call.B + row * H) * 4);
        std::copy_n(s.kept.data() + t * rows * H, rows * H, call.cell + place.cell * call.T * call.B + row * H);
    }
}

// Returns what the head reads: the hidden states of the last layer, or what pooling makes of those so far.
const float* Stream::pooled(const Advance& call, const Part& part, Scratch& s, const float* y) {
    const Pooling pooling = model_->pooling;
    if (pooling == Pooling::none) return y;
    const int64_t P = model_->layers_.back().sizes.P;
    for (int64_t t = 0; t < part.steps; ++t)
        for (int64_t b = 0; b < part.rows; ++b) {
            const int64_t session = call.sessions[part.first_row + b], place = (t * part.rows + b) * P;
            const int64_t taken = steps(session) + part.first_step + t + 1;
            pool(pooling, model_->pool_W_.data(), y + place, P, taken, last(session), s.pooled.data() + place);
        }
    return s.pooled.data();
}

// Writes outputs where they belong: a forecast in the targets' units, its quantiles in order.
void Stream::give(const Advance& call, const Part& part, Scratch& s, const float* y) {
    const int64_t O = model_->output_width();
    y = pooled(call, part, s, y);
    const float* out = y;
    if (model_->head_.out) {
        model_->head_kernels_->linear(model_->head_, y, s.out.data(), 0, part.steps * part.rows);
        out = s.out.data();
    }
    const Columns& n = model_->columns;
    for (int64_t t = 0; t < part.steps; ++t) {
        const int64_t place = (part.first_step + t) * call.B + part.first_row;
        if (model_->reads != Reads::series) {
            std::copy_n(out + t * part.rows * O, part.rows * O, static_cast<float*>(call.output) + place * O);
            continue;
        }
        for (int64_t k = 0; k < part.rows * n.horizon * n.targets; ++k) {
            const int64_t row = t * part.rows + k / (n.horizon * n.targets), target = k % n.targets;
            const int64_t forecast = t * part.rows * n.horizon * n.targets + k;
            // Head and seasons give differences from the last value, in units of the window if it has a scale.
            const double* const placed = n.window ? s.placed.data() + 2 * row * n.targets + target : nullptr;
            const Forecast from{s.out.data() + forecast * n.outputs(),
                                n.observed && !n.window ? s.level[row * n.targets + target] : 0.0f,
                                n.recent() ? s.seasonal[forecast] : 0.0f,
                                target,
                                placed ? placed[n.targets] : n.scale[target],
                                placed ? placed[0] : n.mean[target]};
            give_forecast(from, static_cast<double*>(call.output) + place * O + k * n.quantiles);
        }
    }
}

// Writes the quantiles of one step ahead and target; changes the outputs of the head.
void Stream::give_forecast(const Forecast& of, double* to) const {
    const Columns& n = model_->columns;
    float* const outputs = of.outputs;
    const Family family = n.distribution.family;
    // Quantiles and the location of a distribution are differences from the last value.
    const int64_t moved = family == Family::none ? n.quantiles : counts(family) ? 0 : 1;
    if (n.recent())
        for (int64_t q = 0; q < moved; ++q) outputs[q] += of.seasonal;
    for (int64_t q = 0; q < moved; ++q) outputs[q] += of.level;
    if (family == Family::none) {
        std::sort(outputs, outputs + n.quantiles);
        std::copy_n(outputs, n.quantiles, to);
    } else {
        n.distribution.quantiles(outputs, of.scale, to);
    }
    for (int64_t q = 0; q < n.quantiles; ++q)
        to[q] = n.in_units(counts(family) ? to[q] : to[q] * of.scale + of.mean, of.target);
}

void Stream::advance_part(const Advance& call, const Part& part, Scratch& s) {
    Rows<const float> x = encode(call, part, s);
    const float* y = nullptr;
    int64_t before_P = 0, before_H = 0, number = 0;  // widths of the layers before, and their number
    for (const Model::Layer& layer : model_->layers_) {
        float* const to = s.y[number++ % 2].data();
        const Place place{layer.sizes, layer.variant, before_P, before_H};
        std::visit([&](const auto& packed) { run_layer(call, part, s, place, packed, x, to); }, layer.packed);
        y = to;
        x = {y, part.rows * layer.sizes.P, layer.sizes.P};
        before_P += layer.sizes.P;
        before_H += layer.sizes.H;
    }
    give(call, part, s, y);
}

void Stream::advance(const Advance& call, int threads) {
    const int64_t B = call.B, T = call.T;
    if (B == 0 || T == 0) return;
    int64_t work = 0;
    for (const Model::Layer& layer : model_->layers_) work += 8 * layer.sizes.H * (layer.sizes.D + layer.sizes.P);
    if (work * B * T < kWorthThreads) threads = 1;
    threads = static_cast<int>(std::min<int64_t>(threads, B));
    reserve(B, T, threads);  // a team may come out smaller than asked for, and shares larger
    const auto rows_of = [&](int rank, int size) {
        for (int64_t first = B * rank / size, end = B * (rank + 1) / size; first < end;) {
            const int64_t rows = std::min(kRows, end - first), chunk = chunk_of(rows, T);
            for (int64_t step = 0; step < T; step += chunk)
                advance_part(call, {first, rows, step, std::min(chunk, T - step)}, scratch_[rank]);
            first += rows;
        }
    };
    if (threads == 1)
        rows_of(0, 1);
    else
        run_team(threads, [&](int rank, Team& team) { rows_of(rank, team.size()); });
    for (int64_t b = 0; b < B; ++b) steps_[call.sessions[b]] += T;
}

}  // namespace gatewright
