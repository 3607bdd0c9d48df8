// Whole models as plain loops in double, one session and one step at a time: the judge of streams.
#include "stream_problem.h"

namespace gatewright::tests {

namespace {

using Values = std::vector<double>;

double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }

class StreamReference {
  public:
    StreamReference(const StreamProblem& problem, Values* read) : p(problem), n(p.of.columns), read_(read) {
        for (const ModelParts::Layer& layer : p.parts.layers)
            P_ += layer.P, C_ += layer.variant.cell_rows() * layer.H;
        for (const char* const name : {"output", "gates", "kept"}) outcome[name].clear();
        outcome["hidden"].assign(p.hidden.begin(), p.hidden.end());
        outcome["cell"].assign(p.cell.begin(), p.cell.end());
        outcome["last"] = p.last;
        outcome["steps"].assign(p.of.S, double(p.of.T));
        for (int64_t t = 0; t < p.of.T; ++t)
            for (int64_t s = 0; s < p.of.S; ++s) step(t, s);
    }

    Outcome outcome;

  private:
    const StreamProblem& p;
    const Columns& n;
    Values* const read_;
    int64_t P_ = 0, C_ = 0;                                                               // of all layers together
    std::vector<Values> seen_ = std::vector<Values>(p.of.S);                              // by session
    std::vector<std::vector<Values>> hidden_ = std::vector<std::vector<Values>>(p.of.S);  // by session and step

    void step(int64_t t, int64_t session) {
        const int64_t place = t * p.of.S + session;
        Values level(n.targets);
        double* const last = outcome["last"].data() + session * n.targets;
        Values x = input(place, last, level);
        Values& seen = seen_[session];
        for (int64_t k = 0; k < n.targets; ++k) seen.push_back(std::isnan(last[k]) ? last[k] : level[k]);
        if (read_) read_->insert(read_->end(), x.begin(), x.end());
        double* h = outcome["hidden"].data() + session * P_;
        double* c = outcome["cell"].data() + session * C_;
        for (const ModelParts::Layer& layer : p.parts.layers) {
            advance_layer(layer, x, h, c);
            const bool adds = p.parts.residual && &layer != &p.parts.layers.front();
            if (!adds) x.assign(layer.P, 0);
            for (int64_t k = 0; k < layer.P; ++k) x[k] += h[k];
            h += layer.P;
            c += layer.variant.cell_rows() * layer.H;
        }
        const Values out = head(pooled(x, session));
        Values& all = outcome["output"];
        if (p.of.reads == Reads::series)
            add_forecast(out, level, seen, t);
        else
            all.insert(all.end(), out.begin(), out.end());
    }

    Values input(int64_t place, double* last, Values& level) const {
        if (p.of.reads == Reads::series) return encoded(p.table.data() + place * n.width(), last, level);
        if (!n.categories.empty()) return with_vectors(p.features.data() + place * n.past);
        const float* const from = p.of.reads == Reads::symbols ? p.parts.embedding + p.symbols[place] * p.of.D
                                                               : p.features.data() + place * p.of.D;
        return {from, from + p.of.D};
    }

    Values with_vectors(const float* row) const {
        Values x;
        for (int64_t k = 0; k < n.past; ++k) {
            const float *from = row + k, *end = from + 1;
            for (const Category& each : n.categories)
                if (each.input == k) {
                    from = each.vectors.data() + int64_t(row[k]) * each.size;
                    end = from + each.size;
                }
            x.insert(x.end(), from, end);
        }
        return x;
    }

    // The hidden states of a session so far, pooled.
    Values pooled(const Values& h, int64_t session) {
        if (p.parts.pooling == Pooling::none) return h;
        std::vector<Values>& all = hidden_[session];
        all.push_back(h);
        Values scores, y(h.size(), p.parts.pooling == Pooling::max ? -HUGE_VAL : 0);
        double most = -HUGE_VAL, total = 0;
        for (const Values& each : all) {
            double score = 0;
            for (std::size_t k = 0; p.parts.pooling == Pooling::attention && k < h.size(); ++k)
                score += p.parts.pool_W[k] * each[k];
            scores.push_back(score);
            most = std::max(most, score);
        }
        for (const double score : scores) total += std::exp(score - most);
        for (std::size_t t = 0; t < all.size(); ++t)
            for (std::size_t k = 0; k < h.size(); ++k)
                y[k] = p.parts.pooling == Pooling::max ? std::max(y[k], all[t][k])
                                                       : y[k] + std::exp(scores[t] - most) / total * all[t][k];
        return y;
    }

    // What the model reads of a row; keeps the last observed values, and gives their level in the scaler's units.
    Values encoded(const double* row, double* last, Values& level) const {
        const double *const past = row + n.targets, *const statics = past + n.past,
                            *const phases = statics + n.statics, *const known = phases + n.phases;
        const double *const mean = n.mean.data(), *const scale = n.scale.data();
        Values changes, flags, x;
        for (int64_t k = 0; k < n.targets; ++k) {
            const bool observed = !std::isnan(row[k]), before = !std::isnan(last[k]);
            changes.push_back(observed && before ? (row[k] - last[k]) / n.change_scale[k] : 0);
            flags.push_back(observed);
            if (observed) last[k] = row[k];
            level[k] = observed || before ? (last[k] - mean[k]) / scale[k] : 0;
        }
        if (n.change) x.insert(x.end(), changes.begin(), changes.end());
        if (n.level) x.insert(x.end(), level.begin(), level.end());
        if (n.observed) x.insert(x.end(), flags.begin(), flags.end());
        int64_t column = n.targets;  // of the scaler: past, known, statics
        const auto put = [&](Values& to, double value, int64_t input) {
            for (const Category& each : n.categories)
                if (each.input == input) {
                    const float* const from = each.vectors.data() + int64_t(value) * each.size;
                    to.insert(to.end(), from, from + each.size);
                    return;
                }
            to.push_back((value - mean[column]) / scale[column]);
        };
        for (int64_t k = 0; k < n.past; ++k, ++column) put(x, past[k], k);
        Values ahead;
        for (int64_t k = 0; k < n.known; ++k, ++column)
            for (int64_t step = 0; step < n.horizon; ++step)
                put(ahead, known[k * n.horizon + step], n.past + n.statics + k);
        for (int64_t k = 0; k < n.statics; ++k, ++column) put(x, statics[k], n.past + k);
        x.insert(x.end(), phases, phases + n.phases);
        x.insert(x.end(), ahead.begin(), ahead.end());
        return x;
    }

    // Layer norm without bias.
    static void normalise(double* values, int64_t H, const float* gains) {
        double mean = 0, variance = 0;
        for (int64_t u = 0; u < H; ++u) mean += values[u] / H;
        for (int64_t u = 0; u < H; ++u) variance += (values[u] - mean) * (values[u] - mean) / H;
        for (int64_t u = 0; u < H; ++u) values[u] = gains[u] * (values[u] - mean) / std::sqrt(variance + 1e-5);
    }

    static double opened(Activation kind, double v) {
        return kind == Activation::smooth ? sigmoid(v) : std::clamp(v / 6 + 0.5, 0.0, 1.0);
    }

    static double squashed(Activation kind, double v) {
        if (kind == Activation::identity) return v;
        return kind == Activation::smooth ? std::tanh(v) : std::clamp(v, -1.0, 1.0);
    }

    // The gates of a unit, H apart, from what they are before activation, and its cell state.
    static void advance_unit(const ModelParts::Layer& layer, double* gate, int64_t u, double& c) {
        const Variant<float>& cell = layer.variant;
        const int64_t H = layer.H;
        double &i = gate[0], &f = gate[H], &g = gate[2 * H], &o = gate[3 * H];
        const auto peephole = [&](int64_t which, double v) {
            return cell.peepholes ? cell.peepholes[which * H + u] * v : 0;
        };
        f = cell.no_forget_gate ? 1 : opened(cell.gate, f + peephole(1, c));
        i = cell.no_input_gate ? 1 : cell.coupled ? 1 - f : opened(cell.gate, i + peephole(0, c));
        g = squashed(cell.candidate, g);
        double next = f * c + i * g;
        if (cell.cell_clip > 0) next = std::clamp(next, -cell.cell_clip, cell.cell_clip);
        const double zoneout = cell.rate(Purpose::zoneout_cell);
        c = zoneout * c + (1 - zoneout) * next;
        o = cell.no_output_gate ? 1 : opened(cell.gate, o + peephole(2, c));
    }

    // The sLSTM from its gates before activation; as a loop that knows no stabiliser would have it, but for m.
    void average(const ModelParts::Layer& layer, const Values& pre, double* h, double* c) {
        const int64_t H = layer.H;
        Values gates(4 * H), averages(H);
        for (int64_t u = 0; u < H; ++u) {
            const double log_i = pre[u], f_pre = pre[H + u], z = std::tanh(pre[2 * H + u]);
            const bool exponential = layer.variant.exponential_forget;
            const double log_f = exponential ? f_pre : -std::log1p(std::exp(-f_pre));
            double &n = c[H + u], &m = c[2 * H + u];
            const double before = n > 0 ? log_f + m : -HUGE_VAL;
            const double next = std::max(before, log_i);
            const double kept = std::exp(before - next), taken = std::exp(log_i - next);
            gates[u] = kept * n / (kept * n + taken);
            gates[H + u] = exponential ? 1 : sigmoid(-f_pre);
            gates[2 * H + u] = z;
            gates[3 * H + u] = sigmoid(pre[3 * H + u]);
            c[u] = kept * c[u] + taken * z;
            n = kept * n + taken;
            m = next;
            averages[u] = c[u] / n;
            h[u] = gates[3 * H + u] * averages[u];
        }
        outcome["gates"].insert(outcome["gates"].end(), gates.begin(), gates.end());
        outcome["kept"].insert(outcome["kept"].end(), averages.begin(), averages.end());
    }

    void advance_layer(const ModelParts::Layer& layer, const Values& x, double* h, double* c) {
        const int64_t D = layer.D, H = layer.H, P = layer.P;
        const Weights<float>& w = layer.weights;
        Values gate(4 * H), shown(H);
        const bool bytes = p.of.kept == Kept::int8, pairs = p.of.kept == Kept::bfloat16;
        // What products are of; most: of which 1/127 is the unit of bytes.
        const auto of = [&](double value, double most) {
            if (pairs) return double(to_float(to_bfloat16(static_cast<float>(value))));
            return bytes && most > 0 ? std::nearbyint(value / most * 127) * most / 127 : value;
        };
        const auto most = [](const double* row, int64_t width) {
            double most = 0;
            for (int64_t k = 0; k < width; ++k) most = std::max(most, std::abs(row[k]));
            return most;
        };
        const double most_of_x = most(x.data(), D), most_of_h = w.W_hr ? most(h, P) : 1;
        for (int64_t row = 0; row < 4 * H; ++row) {
            double& sum = gate[row];
            for (int64_t k = 0; k < D; ++k) sum += w.W_ih[row * D + k] * of(x[k], most_of_x);
            const int64_t read = layer.head ? layer.head : P, first = row % H / read * read;
            for (int64_t k = 0; k < read; ++k)
                sum += w.W_hh[row * read + k] * of(h[first * (layer.head > 0) + k], most_of_h);
        }
        if (layer.variant.gains)
            for (int64_t j = 0; j < 4; ++j) normalise(gate.data() + j * H, H, layer.variant.gains + j * H);
        for (int64_t row = 0; w.b_ih && row < 4 * H; ++row) gate[row] += double(w.b_ih[row]) + w.b_hh[row];
        if (layer.variant.slstm) return average(layer, gate, h, c);
        for (int64_t u = 0; u < H; ++u) advance_unit(layer, gate.data() + u, u, c[u]);
        shown.assign(c, c + H);
        if (layer.variant.gains) {
            normalise(shown.data(), H, layer.variant.cell_gain);
            for (int64_t u = 0; u < H; ++u) shown[u] += layer.variant.cell_bias[u];
        }
        const double zoneout = layer.variant.rate(Purpose::zoneout_hidden);
        for (int64_t u = 0; u < H; ++u) {
            shown[u] = gate[3 * H + u] * squashed(layer.variant.output, shown[u]);
            if (zoneout > 0) shown[u] = zoneout * h[u] + (1 - zoneout) * shown[u];
        }
        for (int64_t k = 0; k < P; ++k) {
            h[k] = w.W_hr ? 0 : shown[k];
            for (int64_t u = 0; w.W_hr && u < H; ++u) h[k] += of(w.W_hr[k * H + u], 0) * of(shown[u], 0);
        }
        outcome["gates"].insert(outcome["gates"].end(), gate.begin(), gate.end());
        outcome["kept"].insert(outcome["kept"].end(), c, c + H);
    }

    Values head(const Values& x) const {
        if (!p.parts.head_W) return x;
        Values out;
        const int64_t in = static_cast<int64_t>(x.size());
        for (int64_t row = 0; row < p.parts.out; ++row) {
            out.push_back(p.parts.head_b ? p.parts.head_b[row] : 0);
            for (int64_t k = 0; k < in; ++k) out.back() += p.parts.head_W[row * in + k] * x[k];
        }
        return out;
    }

    // (horizon, targets, quantiles): added to the level where past targets are read, in order, in their own units.
    void add_forecast(const Values& out, const Values& level, const Values& seen, int64_t t) {
        auto from = out.begin();
        for (int64_t step = 0; step < n.horizon; ++step)
            for (int64_t target = 0; target < n.targets; ++target) {
                Values quantiles(from, from + n.quantiles);
                std::sort(quantiles.begin(), quantiles.end());
                for (const double each : quantiles) {
                    const double value =
                        n.observed ? each + level[target] + seasonal(seen, t, step, target) : each;
                    outcome["output"].push_back(value * n.scale[target] + n.mean[target]);
                }
                from += n.quantiles;
            }
    }

    // What the seasons add to a step ahead: the targets that a session has seen are (steps, targets).
    double seasonal(const Values& seen, int64_t t, int64_t step, int64_t target) const {
        double sum = 0;
        for (std::size_t s = 0; s < n.seasons.size(); ++s) {
            const int64_t season = n.seasons[s], before = t - season, after = before + 1 + step % season;
            if (before < 0 || std::isnan(seen[before * n.targets + target])) continue;
            const double weight = n.season_weight[(s * n.horizon + step) * n.targets + target];
            sum += weight * (seen[after * n.targets + target] - seen[before * n.targets + target]);
        }
        return sum;
    }
};

}  // namespace

Outcome stream_reference(const StreamProblem& problem, Values* read) {
    return StreamReference(problem, read).outcome;
}

}  // namespace gatewright::tests
