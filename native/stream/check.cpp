// What is wrong with the input of a call.
#include <cmath>
#include <limits>

#include "stream/stream.h"

namespace gatewright {

namespace {

constexpr double kFarthest = 1e20;  // standard deviations that float holds, with room to compute in

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

}  // namespace gatewright
