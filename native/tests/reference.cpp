// The equations of cell.h as plain loops, forward and backward, in a wider type: the judge of what kernels give.
#include <cfloat>
#include <type_traits>
#include <utility>

#include "problem.h"

namespace gatewright::tests {

namespace {

// Where long double is emulated, double has to do: sums as short as these lose little in it.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 8 && LDBL_MANT_DIG == 64, long double, double>;

template <class T>
class Reference {
    using W = Wide<T>;
    using Values = std::vector<W>;

  public:
    explicit Reference(const Problem<T>& problem)
        : p(problem), n(p.sizes), T_(n.T), B(n.B), D(n.D), H(n.H), P(n.P), weights(p.weights()) {
        forward();
        backward();
    }

    Named<long double> all() const {
        Named<long double> wide;
        for (const auto& [name, values] : results) wide[name].assign(values.begin(), values.end());
        return wide;
    }

  private:
    const Problem<T>& p;
    const Sizes n;
    const int64_t T_, B, D, H, P;
    const Weights<T> weights;
    Named<W> results;
    Values c_before, h_before, shown;  // (rows, H), (rows, P), (rows, H): o tanh(c)

    static W sigmoid(W v) { return 1 / (1 + std::exp(-v)); }

    void forward() {
        Values &y = results["y"], &gates = results["gates"], &cell = results["cell"],
               &kept = results["checkpoints"];
        y.resize(p.rows * P), gates.resize(p.rows * 4 * H), cell.resize(p.rows * H);
        c_before.resize(p.rows * H), h_before.resize(p.rows * P), shown.resize(p.rows * H);
        Values h(p.h_0.begin(), p.h_0.end()), c(p.c_0.begin(), p.c_0.end());
        for (int64_t s = 0; s < T_; ++s) {
            if (s % p.every == 0) kept.insert(kept.end(), c.begin(), c.end());
            const int64_t t = p.steps.time(s);
            for (int64_t b = 0; b < p.steps.rows(t); ++b) {
                const int64_t place = p.steps.start(t) + b;
                if (p.resets(t, b)) {
                    std::copy_n(&p.c_reset[b * H], H, &c[b * H]);
                    std::copy_n(&p.h_reset[b * P], P, &h[b * P]);
                }
                if (!p.has_step(t, b)) {  // past the end zeros; else what is carried, by f alone
                    if (!p.within(t, b)) continue;
                    std::copy_n(&h[b * P], P, &y[place * P]);
                    std::copy_n(&c[b * H], H, &cell[place * H]);
                    std::fill_n(&gates[(place * 4 + 1) * H], H, W(1));
                    continue;
                }
                std::copy_n(&c[b * H], H, &c_before[place * H]);
                std::copy_n(&h[b * P], P, &h_before[place * P]);
                const T* const x = p.x.at(p.steps, t, b);
                for (int64_t u = 0; u < H; ++u) {
                    W* const gate = &gates[place * 4 * H + u];
                    for (int64_t j = 0; j < 4; ++j) {
                        const W pre = before_activation(x, &h_before[place * P], j * H + u);
                        gate[j * H] = j == 2 ? std::tanh(pre) : sigmoid(pre);
                        if (p.of.held && !std::isnan(p.clamps[j * H + u])) gate[j * H] = p.clamps[j * H + u];
                    }
                    c[b * H + u] = gate[H] * c[b * H + u] + gate[0] * gate[2 * H];
                    cell[place * H + u] = c[b * H + u];
                    shown[place * H + u] = gate[3 * H] * std::tanh(c[b * H + u]);
                }
                for (int64_t k = 0; k < P; ++k) {
                    W sum = n.projected ? 0 : shown[place * H + k];
                    for (int64_t u = 0; n.projected && u < H; ++u)
                        sum += weights.W_hr[k * H + u] * shown[place * H + u];
                    h[b * P + k] = y[place * P + k] = sum;
                }
            }
        }
        results["h_n"] = h, results["c_n"] = c;
    }

    W before_activation(const T* x, const W* h, int64_t row) const {
        W sum = weights.b_ih ? W(weights.b_ih[row]) + weights.b_hh[row] : W(0);
        for (int64_t k = 0; k < D; ++k) sum += W(weights.W_ih[row * D + k]) * x[k];
        for (int64_t k = 0; k < P; ++k) sum += weights.W_hh[row * P + k] * h[k];
        return sum;
    }

    void backward() {
        Values &dx = results["dx"], &dW_ih = results["dW_ih"], &dW_hh = results["dW_hh"], &db = results["db"],
               &dW_hr = results["dW_hr"], &dh_reset = results["dh_reset"], &dc_reset = results["dc_reset"];
        dx.resize(p.rows * D), dW_ih.resize(4 * H * D), dW_hh.resize(4 * H * P), db.resize(4 * H);
        dW_hr.resize(n.projected ? P * H : 0);
        Values dh(p.dh_n.begin(), p.dh_n.end()), dc(p.dc_n.begin(), p.dc_n.end()), dshown(H), dpre(4 * H);
        dh.resize(B * P), dc.resize(B * H), dh_reset.resize(B * P), dc_reset.resize(B * H);
        const auto cut = [&](int64_t t, int64_t b) {
            for (int64_t k = 0; p.resets(t, b) && k < P; ++k)
                dh_reset[b * P + k] += std::exchange(dh[b * P + k], W(0));
            for (int64_t k = 0; p.resets(t, b) && k < H; ++k)
                dc_reset[b * H + k] += std::exchange(dc[b * H + k], W(0));
        };
        for (int64_t s = T_ - 1; s >= 0; --s) {
            const int64_t t = p.steps.time(s);
            for (int64_t b = 0; b < p.steps.rows(t); ++b) {
                const int64_t place = p.steps.start(t) + b;
                if (!p.within(t, b)) continue;
                for (int64_t k = 0; p.dy.data && k < P; ++k) dh[b * P + k] += p.dy.at(p.steps, t, b)[k];
                if (!p.has_step(t, b)) {
                    for (int64_t k = 0; p.dcell.data && k < H; ++k) dc[b * H + k] += p.dcell.at(p.steps, t, b)[k];
                    cut(t, b);
                    continue;
                }
                for (int64_t u = 0; u < H; ++u) {
                    dshown[u] = n.projected ? 0 : dh[b * P + u];
                    for (int64_t k = 0; n.projected && k < P; ++k) {
                        dshown[u] += weights.W_hr[k * H + u] * dh[b * P + k];
                        dW_hr[k * H + u] += dh[b * P + k] * shown[place * H + u];
                    }
                    cell_adjoint(t, b, u, dshown[u], dc[b * H + u], dpre);
                }
                const T* const x = p.x.at(p.steps, t, b);
                std::fill_n(&dh[b * P], P, W(0));
                for (int64_t row = 0; row < 4 * H; ++row) {
                    db[row] += dpre[row];
                    for (int64_t k = 0; k < D; ++k) {
                        dx[place * D + k] += dpre[row] * weights.W_ih[row * D + k];
                        dW_ih[row * D + k] += dpre[row] * x[k];
                    }
                    for (int64_t k = 0; k < P; ++k) {
                        dh[b * P + k] += dpre[row] * weights.W_hh[row * P + k];
                        dW_hh[row * P + k] += dpre[row] * h_before[place * P + k];
                    }
                }
                cut(t, b);
            }
        }
        results["dh_0"] = dh, results["dc_0"] = dc;
    }

    void cell_adjoint(int64_t t, int64_t b, int64_t u, W dshown_u, W& dc, Values& dpre) {
        const int64_t place = p.steps.start(t) + b;
        const W* const gate = &results["gates"][place * 4 * H + u];
        const W i = gate[0], f = gate[H], g = gate[2 * H], o = gate[3 * H];
        const W tanh_c = std::tanh(results["cell"][place * H + u]);
        const bool recorded = p.dgates.data != nullptr;
        const T* const d = recorded ? p.dgates.at(p.steps, t, b) + u : nullptr;
        const W dc_all =
            dc + (recorded ? p.dcell.at(p.steps, t, b)[u] : T(0)) + dshown_u * o * (1 - tanh_c * tanh_c);
        dpre[u] = (dc_all * g + (d ? d[0] : T(0))) * i * (1 - i);
        dpre[H + u] = (dc_all * c_before[place * H + u] + (d ? d[H] : T(0))) * f * (1 - f);
        dpre[2 * H + u] = (dc_all * i + (d ? d[2 * H] : T(0))) * (1 - g * g);
        dpre[3 * H + u] = (dshown_u * tanh_c + (d ? d[3 * H] : T(0))) * o * (1 - o);
        for (int64_t j = 0; p.of.held && j < 4; ++j)
            if (!std::isnan(p.clamps[j * H + u])) dpre[j * H + u] = 0;
        dc = dc_all * f;
    }
};

}  // namespace

template <class T>
Named<long double> reference(const Problem<T>& problem) {
    return Reference<T>(problem).all();
}

template Named<long double> reference(const Problem<float>&);
template Named<long double> reference(const Problem<double>&);

}  // namespace gatewright::tests
