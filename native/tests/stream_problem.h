// A whole model with inputs and states for some sessions, and what comes of it: from streams, and from plain
// loops.
#pragma once

#include <memory>
#include <numeric>

#include "problem.h"
#include "stream/stream.h"

namespace gatewright::tests {

struct StreamCase {
    Reads reads = Reads::features;
    int64_t layers = 1, D = 1, H = 1;  // D: of the first layer, where it does not follow from columns
                                       // (of features those with categories, past of them)
    int64_t P = 0;                     // 0: no projection
    int64_t out = 0;                   // 0: no head; of series it follows from columns
    bool bias = true;
    Columns columns{};
    int64_t T = 5, S = 4;  // steps of each of the sessions
    Kept kept = Kept::float32;
    Pooling pooling = Pooling::none;
    Cell cell{};                      // by expectations
    int64_t heads = 0;                // of an sLSTM; 0: an LSTM
    bool exponential_forget = false;  // of an sLSTM
    bool residual = false;            // layers then are projected to one width

    std::string text() const;
};

// Counts, and which of change, level and observed are read, without seasons; the numbers of the scaler, and the
// weights of seasons, are the problem's.
Columns columns_of(std::initializer_list<int64_t> counts, const char* reads);

// Every layer has sizes of its own, so that an offset of one used for another shows.  Weights of the gates that
// are kept in fewer bits are such as these hold exactly.
class StreamProblem {
  public:
    explicit StreamProblem(const StreamCase& given);
    StreamProblem(const StreamProblem&) = delete;
    StreamProblem& operator=(const StreamProblem&) = delete;

    StreamCase of;
    ModelParts parts{};
    // (T, S, width); the one that the model reads is filled.
    std::vector<float> features;
    std::vector<int64_t> symbols;
    std::vector<double> table;
    std::vector<float> hidden, cell;  // before the first step (S, ...); session 0 is new
    std::vector<double> last;

    std::shared_ptr<const Model> model() const { return std::make_shared<const Model>(parts); }
    void start(Stream& stream) const;

  private:
    struct Arrays {
        std::vector<float> W_ih, W_hh, b_ih, b_hh, W_hr, peepholes, gains, cell_gain, cell_bias;
    };
    std::mt19937 random_{23};
    std::vector<Arrays> arrays_;
    std::vector<float> embedding_, pool_W_, head_W_, head_b_;

    double uniform(double scale) { return scale * (random_() * 0x1p-31 - 1); }
    std::vector<float> values(int64_t size, double scale);
    std::vector<float> gate_weights(int64_t rows, int64_t width, double scale);
    void make_layers(int64_t D);
    Variant<float> variant(Arrays& arrays, int64_t H);
    void make_head();
    void make_scaler();
    void make_inputs();
    void make_states();
};

inline std::vector<int64_t> all_sessions(const StreamProblem& problem) {
    std::vector<int64_t> all(problem.of.S);
    std::iota(all.begin(), all.end(), 0);
    return all;
}

// Some steps of some sessions in one call.
struct StreamCall {
    std::vector<int64_t> sessions;
    int64_t first, steps;
    int threads = 1;
    bool record = false;
};

// What a stream gives and leaves: output (T, S, O), gates (T, S, 4H of each layer), kept (T, S, H of each layer);
// (keep, slope of log f, z, o of the sLSTM);
// hidden, cell, last and steps of each session.  Gates and kept are there if every call recorded them.
using Outcome = Named<double>;

// Inputs, outputs and record of one call are allocated to the element, and written to it.
void take_steps(Stream& stream, const StreamProblem& problem, const StreamCall& call, Outcome& outcome);
void add_states(Stream& stream, Outcome& outcome);
Outcome run_calls(const std::shared_ptr<const Model>& model, const StreamProblem& problem,
                  const std::vector<StreamCall>& calls);

inline void check_same_bits(const Outcome& got, const Outcome& expected, const std::string& what) {
    for (const auto& [name, values] : got)
        CHECK_SAYING(same_bits(values, expected.at(name)), name + ": other bits with " + what);
}

// The same from plain loops in double; `read`: what the first layer reads (T, S, D).
Outcome stream_reference(const StreamProblem& problem, std::vector<double>* read = nullptr);

}  // namespace gatewright::tests
