// Which cell a call is of: what Python says about it, checked, as the kernels have it.
#pragma once

#include <algorithm>
#include <vector>

#include "python/arguments.h"

namespace gatewright {

// Bits of `CellSpec.code`; the activations' are the lower one of two.
enum CellCode : int64_t {
    kCoupled = 8,
    kNoInputGate = 16,
    kNoForgetGate = 32,
    kNoOutputGate = 64,
    kHardGates = 128,
    kCandidate = 256,
    kOutput = 1024,
    kExponentialForget = 16384,
    kKnownCell = 32767,
};

// `Draws` of Python, and row ids in memory that stays.
struct DrawArgs {
    Draws draws{};
    Maybe rows;

    explicit DrawArgs(nb::handle given) {
        if (given.is_none()) return;
        static const Attribute seed_("seed"), rows_("row_ids"), first_step_("first_step"), stream_("stream");
        const auto of = [&](const Attribute& attribute) { return attribute.of("draws", "Draws", given); };
        draws.wanted = true;
        draws.seed = static_cast<uint64_t>(whole_of("seed", of(seed_), std::numeric_limits<int64_t>::min()));
        rows = maybe_of("row_ids", of(rows_));
        draws.first_step = whole_of("first_step", of(first_step_), 0);
        draws.stream = static_cast<uint32_t>(whole_of("stream", of(stream_), 0, (int64_t{1} << 32) - 8));
    }

    Draws of_batch(int64_t B) const {
        Draws all = draws;
        if (!rows) return all;
        if (rows->dtype() != nb::dtype<int64_t>()) refuse("row_ids", "int64", "another type");
        if (rows->ndim() != 1 || int64_t(rows->shape(0)) != B || (B > 1 && rows->stride(0) != 1))
            refuse("row_ids", "a contiguous array of shape " + shape_of({B}), shape_of(*rows));
        all.rows = static_cast<const int64_t*>(rows->data());
        return all;
    }
};

inline Activation activation_of(const char* name, int64_t number) {
    if (number > 2) refuse("cell", std::string("a known ") + name + " activation", std::to_string(number));
    return static_cast<Activation>(number);
}

// Rates of `CellSpec.rates`: cell_clip, then those of the purposes in their order.
inline std::vector<double> rates_of(nb::handle given) {
    std::vector<double> rates;
    if (!nb::try_cast(given, rates, true)) refuse("rates", "numbers", described(given));
    if (!rates.empty() && rates.size() != 1 + kPurposes)
        refuse("rates", std::to_string(1 + kPurposes) + " numbers, or none", std::to_string(rates.size()));
    for (std::size_t k = 0; k < rates.size(); ++k)
        if (!(rates[k] >= 0) || (k > 0 && rates[k] >= 1))
            refuse("rates", "rates below 1", std::to_string(rates[k]));
    return rates;
}

// Requires the sLSTM, with nothing that it does not have.
template <class T>
void need_slstm(const Variant<T>& v, int64_t code) {
    constexpr int64_t kOthers = kKnownCell - 1 - kSlstm - kExponentialForget;
    if (!v.slstm || (code & kOthers)) refuse("cell", "the code of a known cell", std::to_string(code));
    if (v.peepholes) refuse("w_ch", "None with the sLSTM", "an array");
    if (v.gains) refuse("w_ln", "None with the sLSTM", "an array");
    const auto none = [](double rate) {
        if (rate > 0) refuse("rates", "with the sLSTM none but that of hidden dropout", std::to_string(rate));
    };
    none(v.cell_clip);
    for (int k = 0; k < kPurposes; ++k)
        if (static_cast<Purpose>(k) != Purpose::hidden_dropout) none(v.rates[k]);
}

// Without gates held, by expectations.
template <class T>
Variant<T> variant_of(int64_t code, nb::handle given_rates, const LayerArrays& layer, const Sizes& n) {
    const auto bit = [&](int64_t which) { return (code & which) != 0; };
    if (code & ~int64_t{kKnownCell}) refuse("cell", "the code of a known cell", std::to_string(code));
    const std::vector<double> rates = rates_of(given_rates);
    Variant<T> v{};
    v.coupled = bit(kCoupled);
    v.no_input_gate = bit(kNoInputGate);
    v.no_forget_gate = bit(kNoForgetGate);
    v.no_output_gate = bit(kNoOutputGate);
    v.slstm = bit(kSlstm);
    v.exponential_forget = bit(kExponentialForget);
    v.gate = bit(kHardGates) ? Activation::hard : Activation::smooth;
    v.candidate = activation_of("candidate", code / kCandidate % 4);
    v.output = activation_of("output", code / kOutput % 4);
    v.peepholes = dense<T>("w_ch", layer.w_ch, {3 * n.H});
    v.gains = dense<T>("w_ln", layer.w_ln, {4 * n.H});
    v.cell_gain = dense<T>("w_ln_cell", layer.w_ln_cell, {n.H});
    v.cell_bias = dense<T>("b_ln_cell", layer.b_ln_cell, {n.H});
    if ((v.gains != nullptr) != (v.cell_gain != nullptr) || (v.gains != nullptr) != (v.cell_bias != nullptr))
        refuse("w_ln", "w_ln, w_ln_cell and b_ln_cell together", "some of them");
    if (!rates.empty()) {
        v.cell_clip = rates[0];
        std::copy_n(rates.data() + 1, kPurposes, v.rates);
        if (n.projected && v.rate(Purpose::zoneout_hidden) > 0)
            refuse("rates", "no zoneout of a projected hidden state", std::to_string(rates[2]));
    }
    if (v.slstm || v.exponential_forget) need_slstm(v, code);
    v.general = v.peepholes || v.gains || v.cell_clip > 0 || code >= kCoupled;
    for (int k = 0; k < kPurposes; ++k) v.general |= v.rates[k] > 0;
    return v;
}

template <class T>
Variant<T> variant_of(const SequenceArgs& args, const DrawArgs& draws, const LayerArrays& layer, const Sizes& n) {
    Variant<T> v = variant_of<T>(args.cell, args.rates, layer, n);
    v.clamps = dense<T>("clamps", args.clamps, {4, n.H});
    if (v.slstm && v.clamps) refuse("clamps", "None with the sLSTM", shape_of(*args.clamps));
    v.draws = draws.of_batch(n.B);
    v.general |= v.clamps != nullptr;
    return v;
}

}  // namespace gatewright
