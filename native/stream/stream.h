// A whole model, step by step: encoder, stack of layers, head, and a state for each session.
//
// Knows neither Python nor torch.  A step takes no lock and, once there is room for its rows, allocates nothing.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "kernels/lstm.h"
#include "stream/distribution.h"
#include "stream/pooling.h"
#include "stream/transform.h"
#include "stream/window_scale.h"
#include "support/workspace.h"

namespace gatewright {

// What a step reads: numbers as they are, or the index of a category (float); a symbol (int64); or a row of a
// table in its own units (double).
enum class Reads { features, symbols, series };

// An input of categories.  A row has the index of a value, whole and from 0 (the unknown value) to count - 1.
struct Category {
    int64_t input;               // which input: of past, statics and known, counted from 0 in this order
    int64_t count, size;         // indices, and width of the vector that is read of one
    std::vector<float> vectors;  // (count, size)
};

// The columns of a forecaster; of a model of features with categories `past`, the width of a row, and the
// categories alone.  A row is: targets (NaN where missing), past, statics, phases (sine and cosine of the
// calendar), and each input known in advance at t+1 ... t+horizon, input by input.
struct Columns {
    int64_t targets, past, statics, phases, known, horizon, quantiles;
    bool change, level, observed;      // what the model reads of past targets
    std::vector<double> mean, scale;   // of targets, past, known and statics, in this order
    std::vector<double> change_scale;  // of targets
    std::vector<int64_t> seasons;      // lengths, rising: whose differences a forecast adds; each below 2^31
    std::vector<float> season_weight;  // (seasons, horizon, targets)
    std::vector<TargetTransform> transforms{};  // of targets, before all else; none where it is empty
    std::vector<double> minimum{}, maximum{};   // of forecasts of the targets; no bounds where they are empty
    std::vector<Category> categories{};         // in the order of their inputs
    WindowScale window{};                       // scale of the targets of a session, in place of mean and scale
    Distribution distribution{};                // of which the head gives the numbers, and not quantiles

    // Rows whose targets the seasonal differences need: the last ones that a session has read.
    int64_t recent() const { return seasons.empty() ? 0 : seasons.back() + 1; }
    // Numbers that a session remembers of targets: the last observed values, and what the scale of its window is
    // of.
    int64_t last_width() const { return targets * (window ? 1 + kWindowNumbers : 1); }
    // Whether these numbers may be those of a session with the scale of a window.
    bool are_windows(const double* last) const {
        for (int64_t k = 0; k < targets; ++k)
            if (!is_window(last + targets + k * kWindowNumbers, last[k], window.rows)) return false;
        return true;
    }
    int64_t width() const { return targets + past + statics + phases + known * horizon; }
    // Numbers that the head gives for a step ahead and target.
    int64_t outputs() const {
        return distribution.family == Family::none ? quantiles : outputs_of(distribution.family);
    }
    double transformed(double value, int64_t target) const {
        return transforms.empty() ? value : transforms[target].apply(value);
    }
    // A forecast in the table's units, within its bounds.
    double in_units(double z, int64_t target) const {
        double value = transforms.empty() ? z : transforms[target].invert(z);
        if (!minimum.empty()) value = std::max(value, minimum[target]);
        if (!maximum.empty()) value = std::min(value, maximum[target]);
        return value;
    }
    // Numbers that a row has of a category, and the place of the first.
    int64_t steps(const Category& of) const { return of.input < past + statics ? 1 : horizon; }
    int64_t place(const Category& of) const {
        const int64_t ahead = of.input - past - statics;
        return ahead < 0 ? targets + of.input : targets + past + statics + phases + ahead * horizon;
    }
    // Width of what the first layer reads of a row.
    int64_t encoded_width() const {
        int64_t D = (change + level + observed) * targets + width() - targets;
        for (const Category& each : categories) D += steps(each) * (each.size - 1);
        return D;
    }
};

// How the weights of the gates are kept, and what a step computes with them.
enum class Kept {
    float32,
    bfloat16,          // products of bfloat16: what they are of is rounded, too
    int8,              // products of integers: what they are of is rounded, too
    bfloat16_float32,  // products of float32: widened as they are loaded
    int8_float32,      // the same
};

// Whether the sums of a layer's products, of integers, are numbers of 32 bits.
inline bool sums_fit(Kept kept, int64_t D, int64_t P) {
    return kept != Kept::int8 || std::max(D, P) <= kMostBytes;
}

// What a model is made of; only read while it is made.
struct ModelParts {
    struct Layer {
        int64_t D, H, P;
        Weights<float> weights;
        Variant<float> variant{};  // by expectations, with no gates held; the plain cell with narrow weights
        int64_t head = 0;          // with the sLSTM, as in Sizes
    };
    Reads reads;
    std::vector<Layer> layers;
    const float* embedding;  // (symbols, D), for symbols
    int64_t symbols;
    Columns columns;      // for series; and for features with categories
    const float* head_W;  // (out, P), or null: the last layer's hidden state is the output
    const float* head_b;
    int64_t out;
    Kept kept = Kept::float32;
    Pooling pooling = Pooling::none;  // of the steps so far, before the head
    const float* pool_W = nullptr;    // (P), the query of attention
    bool residual = false;            // each layer after the first adds its input, of width P, to its output
};

// A model, packed for the target that was in use when it was made; never changes, so streams share it.
class Model {
  public:
    // The panels of a layer, and the kernels that read them.  S: of what products are, float or BFloat16.
    template <class S>
    struct Packed {
        const Kernels<float, S>* kernels;
        void (*forward)(const Forward<float, S>&, const Share&, Team* barrier);
        Panels<float, PanelElement<float, S>> panels;
    };
    struct Layer {
        Sizes sizes;
        std::variant<Packed<float>, Packed<BFloat16>> packed;
        std::unique_ptr<Workspace<float>> memory;
        std::unique_ptr<Workspace<uint32_t>> narrow_memory;  // of weights in fewer bits that are not pairs
        Variant<float> variant{};
        std::vector<float> vectors{};  // of the variant, and with layer norm the panels' bias of zero

        bool in_bytes() const {  // what products are of
            const auto* const of = std::get_if<Packed<float>>(&packed);
            return of && of->panels.narrow_ih.operands != Bytes::none;
        }
        int64_t cell_width() const { return variant.cell_rows() * sizes.H; }  // of its state
        int64_t width() const {
            return std::visit([](const auto& each) { return int64_t{each.kernels->width}; }, packed);
        }
    };

    explicit Model(const ModelParts& parts);

    int64_t input_width() const;  // elements that a step reads
    int64_t output_width() const;
    int64_t hidden_width() const { return hidden_width_; }  // of all layers together
    int64_t cell_width() const { return cell_width_; }
    int64_t units() const { return units_; }  // H of all layers together: of a record
    // Whether steps may go on from these hidden states: of which products are of 1/127, up to 1.
    bool takes_hidden(const float* hidden) const;
    // Whether steps may go on from these cell states: n of an sLSTM is a sum of weights.
    bool takes_cell(const float* cell) const;
    int64_t weight_bytes() const { return weight_bytes_; }  // of the gates' weights, as they are kept
    // Doubles that a session keeps next to its hidden and cell states.
    int64_t last_width() const { return columns.last_width() + pooled_width(pooling, layers_.back().sizes.P); }

    const Reads reads;
    const int64_t symbols;
    const Columns columns;
    const Pooling pooling;
    const bool residual;

  private:
    friend class Stream;
    std::vector<Layer> layers_;
    std::vector<float> embedding_;
    std::vector<float> pool_W_;
    Linear<float> head_;
    const Kernels<float>* head_kernels_;
    std::unique_ptr<Workspace<float>> head_memory_;
    int64_t hidden_width_, cell_width_, units_, weight_bytes_;
};

// Steps of some sessions at once.
struct Advance {
    const int64_t* sessions;  // (B), all different
    int64_t B, T;
    const void* input;  // (T, B, input_width) of float, int64 or double, as Reads says
    void* output;       // (T, B, output_width) of float; of double for series
    float* gates;       // layer by layer (T, B, 4H), after activation; null: no record
    float* cell;        // layer by layer (T, B, H), of the sLSTM c / n; null together with gates
};

// What is wrong with an Advance, if anything is.
struct Fault {
    enum class Kind { none, session, repeated, value, symbol, category } kind = Kind::none;
    int64_t t = 0, b = 0, column = 0;
};

// Pairs of bfloat16 in a row of operands.
constexpr int64_t pairs_of(int64_t width) { return operands_of<uint32_t>(width); }

class Stream {
  public:
    Stream(std::shared_ptr<const Model> model, int64_t sessions);
    Stream(const Stream& other);

    // Looks at all of it; advance() may then not fail.
    Fault check(const Advance& call);
    void advance(const Advance& call, int threads);
    // Makes room for as many rows in as many threads, so that advance() allocates nothing for them.
    void reserve(int64_t B, int64_t T, int threads);

    const Model& model() const { return *model_; }
    int64_t sessions() const { return sessions_; }
    // The state of a session, layer by layer: h (P), c (H), of the sLSTM c n m (3, H); the last observed value of
    // each target, NaN before the first, and with the scale of a window then each target's WindowMemory; or what
    // pooling keeps, NaN before the first step; steps taken; and of a model with seasons the targets of its last
    // `recent` rows.
    float* hidden(int64_t session) { return hidden_.data() + session * model_->hidden_width(); }
    float* cell(int64_t session) { return cell_.data() + session * model_->cell_width(); }
    double* last(int64_t session) { return last_.data() + session * model_->last_width(); }
    int64_t& steps(int64_t session) { return steps_[session]; }
    // Copies the targets of the last rows, as last observed in the scaler's units (with the scale of a window:
    // less the first one), out or in: (recent, targets), the oldest first, NaN before the first observation.  Set
    // the steps of a session before these.
    void get_recent(int64_t session, float* to) const;
    void set_recent(int64_t session, const float* from);
    void reset(int64_t session);

    // Set while a call is under way: a stream serves one thread at a time.
    std::atomic<bool> busy{false};

  private:
    // Room of one thread for some rows.
    struct Scratch {
        std::vector<float> x, y[2], h[2], c, hidden, ahead, pooled, out, level, seasonal, gates, kept;
        std::vector<float> h_kept, before_norm;  // of a cell that is zoned out, or has layer norm
        std::vector<float> scales;               // of rows of bytes: of h, then of x
        std::vector<uint32_t> operands;  // of products of bfloat16: x, h twice, and o tanh(c); of bytes: x, h
        std::vector<double> placed;      // of each place, with the scale of a window: last values, and scales
        int64_t rows = 0, places = 0;
    };
    // Outputs of the head for one step ahead and target, what is added to them, and their units.
    struct Forecast {
        float* outputs;
        float level, seasonal;
        int64_t target;
        double scale, mean;
    };
    // Some rows of a call, and some of its steps.
    struct Part {
        int64_t first_row, rows, first_step, steps;
    };

    int64_t chunk_of(int64_t rows, int64_t T) const;
    void make_room(Scratch& scratch, int64_t rows, int64_t places);
    void advance_part(const Advance& call, const Part& part, Scratch& scratch);
    Rows<const float> encode(const Advance& call, const Part& part, Scratch& scratch);
    void encode_row(int64_t session, const double* row, float* x, float* level, double* placed, float* own);
    float* encode_targets(int64_t session, const double* row, float* x, float* level, float* own);
    float* encode_windows(int64_t session, const double* row, float* x, double* placed, float* own);
    void add_seasons(int64_t session, int64_t step, const double* placed, float* seasonal);
    int64_t recent_width() const { return model_->columns.recent() * model_->columns.targets; }
    // Where a session keeps the targets of a step that it takes: one of `recent` places, used in turn.
    float* recent(int64_t session, int64_t step) {
        const Columns& n = model_->columns;
        return recent_.data() + session * recent_width() + step % n.recent() * n.targets;
    }
    // A layer, and the places of its states among those of a session, and of its units in a record.
    struct Place {
        const Model::Layer& layer;
        int64_t hidden, cell, unit;
    };
    template <class S>
    void run_layer(const Advance& call, const Part& part, Scratch& scratch, const Place& place,
                   const Model::Packed<S>& packed, const Rows<const float>& x, float* y);
    template <class S>
    void set_variant(Forward<float, S>& f, Scratch& scratch, const Variant<float>& variant) const;
    const float* pooled(const Advance& call, const Part& part, Scratch& scratch, const float* y);
    void give(const Advance& call, const Part& part, Scratch& scratch, const float* y);
    void give_forecast(const Forecast& of, double* to) const;

    std::shared_ptr<const Model> model_;
    int64_t sessions_;
    std::vector<float> hidden_, cell_;
    std::vector<double> last_;
    std::vector<float> recent_;  // (sessions, recent, targets)
    std::vector<int64_t> steps_;
    std::vector<unsigned char> named_;  // by check(): which sessions a call has named so far
    std::vector<Scratch> scratch_;      // one a thread
};

}  // namespace gatewright
