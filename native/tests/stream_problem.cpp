#include "stream_problem.h"

#include <bit>

namespace gatewright::tests {

std::string StreamCase::text() const {
    const char* const kinds[] = {"features", "symbols", "series"};
    std::string all = kinds[static_cast<int>(reads)];
    const auto add = [&](const char* name, int64_t value) { all += name + std::to_string(value); };
    add(" layers=", layers), add(" D=", D), add(" H=", H), add(" P=", P), add(" out=", out);
    add(" T=", T), add(" S=", S);
    if (!bias) all += " no bias";
    if (!(cell == Cell{})) all += " another cell";
    if (residual) all += " residual";
    if (heads) add(exponential_forget ? " sLSTM, exponential forget gate, heads=" : " sLSTM heads=", heads);
    const char* const ways[] = {"", " bfloat16", " int8", " bfloat16 times float32", " int8 times float32"};
    all += ways[static_cast<int>(kept)];
    const Columns& n = columns;
    if (pooling != Pooling::none) add(" pooling=", static_cast<int>(pooling));
    if (reads != Reads::series) {
        for (const Category& each : n.categories) add(" category=", each.input), add(" size=", each.size);
        return all;
    }
    add(" targets=", n.targets), add(" past=", n.past), add(" statics=", n.statics), add(" phases=", n.phases);
    add(" known=", n.known), add(" horizon=", n.horizon), add(" quantiles=", n.quantiles);
    for (const int64_t season : n.seasons) add(" season=", season);
    for (const Category& each : n.categories) add(" category=", each.input), add(" size=", each.size);
    return all + (n.change ? " change" : "") + (n.level ? " level" : "") + (n.observed ? " observed" : "");
}

Columns columns_of(std::initializer_list<int64_t> counts, const char* reads) {
    const int64_t* const n = counts.begin();
    const std::string name = reads;
    const bool both = name == "both";
    return {n[0],
            n[1],
            n[2],
            n[3],
            n[4],
            n[5],
            n[6],
            both || name == "change",
            both || name == "level",
            name != "nothing",
            {},
            {},
            {},
            {},
            {}};
}

StreamProblem::StreamProblem(const StreamCase& given) : of(given) {
    Columns& n = of.columns;
    if (of.reads == Reads::series) {
        of.D = n.encoded_width();
        of.out = n.horizon * n.targets * n.quantiles;
        make_scaler();
        for (Category& each : n.categories) each.vectors = values(each.count * each.size, 1);
        n.season_weight = values(static_cast<int64_t>(n.seasons.size()) * n.horizon * n.targets, 1);
    } else if (of.reads == Reads::features && !n.categories.empty()) {
        const Columns given = n;
        n = {};
        n.past = given.past;
        n.categories = given.categories;
        of.D = n.encoded_width();
        for (Category& each : n.categories) each.vectors = values(each.count * each.size, 1);
    } else {
        n = {};
    }
    parts.reads = of.reads;
    parts.columns = n;
    parts.kept = of.kept;
    make_layers(of.D);
    make_head();
    if (of.reads == Reads::symbols) {
        parts.symbols = 7;
        embedding_ = values(parts.symbols * of.D, 1);
        parts.embedding = embedding_.data();
    }
    make_inputs();
    make_states();
}

std::vector<float> StreamProblem::values(int64_t size, double scale) {
    std::vector<float> all(size);
    for (float& each : all) each = static_cast<float>(uniform(scale));
    return all;
}

std::vector<float> StreamProblem::gate_weights(int64_t rows, int64_t width, double scale) {
    std::vector<float> all = values(rows * width, scale);
    for (std::size_t k = 0; k < all.size(); ++k) {
        const int64_t row = k / width, column = k % width;
        if (of.kept == Kept::bfloat16 || of.kept == Kept::bfloat16_float32)
            all[k] = std::bit_cast<float>(std::bit_cast<uint32_t>(all[k]) & 0xFFFF0000u);
        // One of 127 units in each row, of which the unit is found again.
        if (of.kept == Kept::int8 || of.kept == Kept::int8_float32) {
            const float unit = std::ldexp(1.0f, -7 - static_cast<int>(row % 5));
            all[k] = unit * (column == row % width ? 127 : std::nearbyint(all[k] / float(scale) * 127));
        }
    }
    return all;
}

void StreamProblem::make_layers(int64_t D) {
    arrays_.resize(of.layers);
    parts.residual = of.residual;
    for (int64_t k = 0; k < of.layers; ++k) {
        const int64_t H = of.H + (of.heads ? of.heads : 3) * k, P = of.P ? of.P + (of.residual ? 0 : k) : H;
        const int64_t head = of.heads ? H / of.heads : P;
        const double scale = 1 / std::sqrt(static_cast<double>(H));
        Arrays& a = arrays_[k];
        a.W_ih = gate_weights(4 * H, D, 2 / std::sqrt(static_cast<double>(D)));
        a.W_hh = gate_weights(4 * H, head, 2 * scale);
        if (of.bias) a.b_ih = values(4 * H, scale), a.b_hh = values(4 * H, scale);
        if (of.P) a.W_hr = values(P * H, 2 * scale);
        const auto or_null = [](const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); };
        parts.layers.push_back({D,
                                H,
                                P,
                                {a.W_ih.data(), a.W_hh.data(), or_null(a.b_ih), or_null(a.b_hh), or_null(a.W_hr)},
                                variant(a, H),
                                of.heads > 1 ? head : 0});
        D = P;
    }
}

Variant<float> StreamProblem::variant(Arrays& a, int64_t H) {
    const Cell& cell = of.cell;
    Variant<float> v{};
    v.general = of.heads || !(cell == Cell{});
    v.slstm = of.heads > 0;
    v.exponential_forget = of.exponential_forget;
    v.coupled = cell.coupled;
    v.no_input_gate = cell.no_input_gate, v.no_forget_gate = cell.no_forget_gate;
    v.no_output_gate = cell.no_output_gate;
    v.gate = cell.gate, v.candidate = cell.candidate, v.output = cell.output;
    v.cell_clip = cell.clip;
    std::copy_n(cell.rates, kPurposes, v.rates);
    if (cell.peephole) {
        a.peepholes = values(3 * H, 1);
        v.peepholes = a.peepholes.data();
    }
    if (!cell.layer_norm) return v;
    a.gains = values(4 * H, 1.5), a.cell_gain = values(H, 1.5), a.cell_bias = values(H, 1);
    v.gains = a.gains.data(), v.cell_gain = a.cell_gain.data(), v.cell_bias = a.cell_bias.data();
    return v;
}

void StreamProblem::make_head() {
    parts.out = of.out;
    if (!of.out) return;
    head_W_ = values(of.out * parts.layers.back().P, 1);
    parts.head_W = head_W_.data();
    if (of.pooling != Pooling::none) {
        parts.pooling = of.pooling;
        pool_W_ = values(parts.layers.back().P, 20);  // some weights are far below others
        parts.pool_W = pool_W_.data();
    }
    if (!of.bias) return;
    head_b_ = values(of.out, 1);
    parts.head_b = head_b_.data();
}

void StreamProblem::make_scaler() {
    Columns& n = of.columns;
    for (int64_t k = 0; k < n.targets + n.past + n.known + n.statics; ++k) {
        n.mean.push_back(uniform(5));
        n.scale.push_back(3 + uniform(2.5));
    }
    for (int64_t k = 0; k < n.targets; ++k) n.change_scale.push_back(3 + uniform(2.5));
}

void StreamProblem::make_inputs() {
    const Columns& n = of.columns;
    const int64_t places = of.T * of.S;
    if (of.reads == Reads::features) features = values(places * (n.categories.empty() ? of.D : n.past), 1);
    for (int64_t place = 0; of.reads == Reads::features && place < places; ++place)
        for (const Category& each : n.categories)
            features[place * n.past + each.input] = static_cast<float>(random_() % each.count);
    for (int64_t k = 0; of.reads == Reads::symbols && k < places; ++k)
        symbols.push_back(random_() % parts.symbols);
    if (of.reads != Reads::series) return;
    for (int64_t place = 0; place < places; ++place) {
        for (int64_t k = 0; k < n.width(); ++k)
            table.push_back(k < n.targets && random_() % 3 == 0 ? std::nan("") : uniform(8));
        double* const row = table.data() + place * n.width();
        for (const Category& each : n.categories)
            for (int64_t k = 0; k < n.steps(each); ++k)
                row[n.place(each) + k] = static_cast<double>(random_() % each.count);
    }
}

void StreamProblem::make_states() {
    for (const ModelParts::Layer& layer : parts.layers) {
        hidden.resize(hidden.size() + of.S * layer.P);
        cell.resize(cell.size() + of.S * layer.variant.cell_rows() * layer.H);
    }
    last.assign(of.S * of.columns.targets, std::nan(""));
    for (std::size_t k = hidden.size() / of.S; k < hidden.size(); ++k) hidden[k] = float(uniform(1));
    for (std::size_t k = cell.size() / of.S; k < cell.size(); ++k) cell[k] = float(uniform(1));
    // n of an sLSTM is a sum of weights; some units have read nothing yet, whatever c and m are.
    for (std::size_t at = 0; of.heads && at < cell.size();)
        for (const ModelParts::Layer& layer : parts.layers) {
            for (int64_t k = layer.H; k < 2 * layer.H; ++k) {
                float& n = cell[at + k];
                n = k % 5 == 0 || n == 0 ? 0 : std::abs(n) + 0.1f;
            }
            at += 3 * layer.H;
        }
    for (int64_t k = of.columns.targets; k < of.S * of.columns.targets; ++k)
        if (random_() % 3) last[k] = uniform(8);
}

void StreamProblem::start(Stream& stream) const {
    const int64_t hidden_width = stream.model().hidden_width(), cell_width = stream.model().cell_width();
    for (int64_t s = 1; s < of.S; ++s) {
        std::copy_n(hidden.data() + s * hidden_width, hidden_width, stream.hidden(s));
        std::copy_n(cell.data() + s * cell_width, cell_width, stream.cell(s));
        const int64_t targets = stream.model().columns.targets;
        std::copy_n(last.data() + s * targets, targets, stream.last(s));
    }
}

namespace {

// The rows of a call out of an input (T, S, width).
template <class T>
std::vector<T> rows_of(const std::vector<T>& all, const StreamProblem& problem, const StreamCall& call,
                       int64_t width) {
    std::vector<T> rows;
    rows.reserve(call.steps * call.sessions.size() * width);
    for (int64_t t = call.first; t < call.first + call.steps; ++t)
        for (const int64_t session : call.sessions) {
            const auto from = all.begin() + (t * problem.of.S + session) * width;
            rows.insert(rows.end(), from, from + width);
        }
    return rows;
}

// Where a row of a call, `width` wide, belongs in an outcome whose rows are `all` wide, from column `before` on.
template <class T>
void put_rows(const StreamProblem& problem, const StreamCall& call, const T* from, int64_t width,
              std::vector<double>& to, int64_t all, int64_t before) {
    to.resize(problem.of.T * problem.of.S * all, std::nan(""));
    for (int64_t t = call.first; t < call.first + call.steps; ++t)
        for (const int64_t session : call.sessions) {
            std::copy_n(from, width, to.begin() + (t * problem.of.S + session) * all + before);
            from += width;
        }
}

template <class Out>
void advance_into(Stream& stream, const StreamProblem& problem, const StreamCall& call, const void* input,
                  Outcome& outcome) {
    const Model& model = stream.model();
    const int64_t B = static_cast<int64_t>(call.sessions.size()), places = B * call.steps;
    const int64_t O = model.output_width(), H = model.units();
    Output<Out> output(places * O);
    Output<float> gates(call.record ? places * 4 * H : 0), kept(call.record ? places * H : 0);
    const Advance advance{call.sessions.data(),
                          B,
                          call.steps,
                          input,
                          output.data(),
                          call.record ? gates.data() : nullptr,
                          call.record ? kept.data() : nullptr};
    CHECK(stream.check(advance).kind == Fault::Kind::none);
    stream.advance(advance, call.threads);
    output.check_written("output");
    gates.check_written("gates");
    kept.check_written("kept");
    put_rows(problem, call, output.data(), O, outcome["output"], O, 0);
    if (!call.record) return;
    int64_t before = 0;
    for (const ModelParts::Layer& layer : problem.parts.layers) {
        put_rows(problem, call, gates.data() + 4 * before * places, 4 * layer.H, outcome["gates"], 4 * H,
                 4 * before);
        put_rows(problem, call, kept.data() + before * places, layer.H, outcome["kept"], H, before);
        before += layer.H;
    }
}

}  // namespace

void take_steps(Stream& stream, const StreamProblem& problem, const StreamCall& call, Outcome& outcome) {
    switch (problem.of.reads) {
        case Reads::features: {
            const std::vector<float> x =
                rows_of(problem.features, problem, call,
                        problem.parts.columns.categories.empty() ? problem.of.D : problem.of.columns.past);
            return advance_into<float>(stream, problem, call, x.data(), outcome);
        }
        case Reads::symbols: {
            const std::vector<int64_t> x = rows_of(problem.symbols, problem, call, 1);
            return advance_into<float>(stream, problem, call, x.data(), outcome);
        }
        case Reads::series: {
            const std::vector<double> x = rows_of(problem.table, problem, call, problem.of.columns.width());
            return advance_into<double>(stream, problem, call, x.data(), outcome);
        }
    }
}

void add_states(Stream& stream, Outcome& outcome) {
    const Model& model = stream.model();
    for (const char* const name : {"hidden", "cell", "last", "steps"}) outcome[name].clear();
    const auto add = [&](const char* name, const auto* values, int64_t count) {
        outcome[name].insert(outcome[name].end(), values, values + count);
    };
    for (int64_t s = 0; s < stream.sessions(); ++s) {
        add("hidden", stream.hidden(s), model.hidden_width());
        add("cell", stream.cell(s), model.cell_width());
        add("last", stream.last(s), model.columns.targets);
        add("steps", &stream.steps(s), 1);
    }
}

Outcome run_calls(const std::shared_ptr<const Model>& model, const StreamProblem& problem,
                  const std::vector<StreamCall>& calls) {
    Outcome outcome;
    Stream stream(model, problem.of.S);
    problem.start(stream);
    bool recorded = true;
    for (const StreamCall& call : calls) {
        take_steps(stream, problem, call, outcome);
        recorded &= call.record;
    }
    if (!recorded) outcome.erase("gates"), outcome.erase("kept");
    add_states(stream, outcome);
    return outcome;
}

}  // namespace gatewright::tests
