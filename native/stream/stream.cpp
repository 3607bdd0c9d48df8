// States of sessions, memory, and calls cut into parts; the parts of a step are in encode.cpp, layer_steps.cpp and
// output.cpp.
#include "stream/stream.h"

#include <algorithm>
#include <limits>

#include "kernels/sequence.h"
#include "support/threads.h"

namespace gatewright {

namespace {

constexpr int64_t kRows = 48;                 // of a batch that walk together: eight tiles
constexpr int64_t kPlaces = 512;              // rows times steps that walk together
constexpr int64_t kWorthThreads = 2'000'000;  // FLOPs of a call, below which waking a thread costs more

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

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

int64_t Stream::chunk_of(int64_t rows, int64_t T) const {
    return std::max<int64_t>(1, std::min(T, kPlaces / rows));
}

void Stream::make_room(Scratch& s, int64_t rows, int64_t places) {
    const bool several_steps = places > rows;
    if (rows <= s.rows && places <= s.places && (!several_steps || !s.ahead.empty())) return;
    rows = std::max(rows, s.rows);
    places = std::max(places, s.places);
    int64_t P = 0, H = 0, cell = 0, ahead = 0, operands = 0, h_kept = 0, before_norm = 0;
    for (const Model::Layer& layer : model_->layers_) {
        const Sizes& n = layer.sizes;
        const int64_t width = layer.width(), lanes = (n.H + width - 1) / width * width;
        P = std::max(P, n.P);
        H = std::max(H, n.H);
        cell = std::max(cell, layer.cell_width());
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
    s.c.resize(rows * cell);
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

void Stream::advance_part(const Advance& call, const Part& part, Scratch& s) {
    Rows<const float> x = encode(call, part, s);
    const float* y = nullptr;
    int64_t number = 0, hidden = 0, cell = 0, unit = 0;  // layers before, and their widths
    for (const Model::Layer& layer : model_->layers_) {
        float* const to = s.y[number++ % 2].data();
        const Place place{layer, hidden, cell, unit};
        std::visit([&](const auto& packed) { run_layer(call, part, s, place, packed, x, to); }, layer.packed);
        if (model_->residual && y)
            for (int64_t k = 0; k < part.steps * part.rows * layer.sizes.P; ++k) to[k] += y[k];
        y = to;
        x = {y, part.rows * layer.sizes.P, layer.sizes.P};
        hidden += layer.sizes.P;
        cell += layer.cell_width();
        unit += layer.sizes.H;
    }
    give(call, part, s, y);
}

void Stream::advance(const Advance& call, int threads) {
    const int64_t B = call.B, T = call.T;
    if (B == 0 || T == 0) return;
    int64_t work = 0;
    for (const Model::Layer& layer : model_->layers_)
        work += 8 * layer.sizes.H * (layer.sizes.D + layer.sizes.read());
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
