// From hidden states to the output of a call.
#include <algorithm>

#include "stream/stream.h"

namespace gatewright {

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

}  // namespace gatewright
