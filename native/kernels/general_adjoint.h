// The adjoint of the general cell: one row of a step, and what a chunk gives to the vectors of the cell.
#pragma once

#include "kernels/adjoint.h"
#include "kernels/general_forward.h"

namespace gatewright::GATEWRIGHT_TARGET {

// h before step s in row b, as y has it.
template <class T, class S>
GATEWRIGHT_INLINE typename Stored<S>::In hidden_before(const Backward<T, S>& b, int64_t s, int64_t row) {
    const int64_t caller = b.table->caller(row);
    if (is_cut<true>(b, b.steps.time(s), row)) return b.reset.h + caller * b.reset.h_row;
    if (s == 0 || row >= b.steps.rows(b.steps.time(s - 1))) return b.h_0 + caller * b.sizes.P;
    return row_at<true>(b, b.y, b.steps.time(s - 1), row);
}

template <class T, int V, class In>
GATEWRIGHT_INLINE Vec<T, V> load_or_zero(In row, int64_t unit, int64_t lanes) {
    return row ? load<V>(row + unit, lanes) : Vec<T, V>{};
}

// What the adjoint of a row at step s reads and writes.
template <class T, int V, class S>
class GeneralRow {
  public:
    using In = typename Stored<S>::In;

    GeneralRow(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t s, int64_t row, const Share& share)
        : b(b),
          chunk(chunk),
          share(share),
          row(row),
          H(b.sizes.H),
          t(b.steps.time(s)),
          blocks(blocks_of<V>(H)),
          local(chunk.first[s - chunk.begin] + row) {
        const int64_t place = kept_at<true>(b, t, row);
        gates = b.gates + place * 4 * H;
        cell = b.cell + place * H;
        before = cell_before<true>(b, s, row);
        dgates_in = row_or_null<true>(b, b.dgates_in, t, row);
        dcell_in = row_or_null<true>(b, b.dcell_in, t, row);
        // With a projection dy has gone into dh already.
        dy = b.sizes.projected ? decltype(b.dy.data)(nullptr) : row_or_null<true>(b, b.dy, t, row);
        dh = b.sizes.projected ? chunk.dhidden + row * H : b.dh + row * H;
        extra = b.extra ? b.extra + place * norm_width(H) : nullptr;
        dvectors = chunk.dvectors ? chunk.dvectors + local * blocks * 5 * V : nullptr;
        for (int k = 0; k < kPurposes; ++k) {
            factors.of[k] = nullptr;
            const auto purpose = static_cast<Purpose>(k);
            if (!b.variant.drawn(purpose) || purpose == Purpose::hidden_dropout) continue;
            T* const drawn = b.factors + share.rank * b.factors_size + k * factor_width(H);
            const int64_t end = share.block_end * V < H ? share.block_end * V : H;
            draw_factors(b.variant, purpose, place_of(b, t, row).t, row, share.block_begin * V, end, drawn);
            factors.of[k] = drawn;
        }
    }

    // Without layer norm: each vector by itself.
    void plain() const {
        for (int64_t block = share.block_begin; block < share.block_end; ++block) {
            const Units<T, V> units = units_of(block);
            const Gates<T, V> gate = load_gates<T, V>(gates + units.unit, H, units.lanes);
            const Vec<T, V> c = load<V>(cell + units.unit, units.lanes);
            const auto back = show_adjoint(units, gate.o, c, block);
            give(block, go_back(units, gate, back.dshown, back.d_o).dpre, true);
        }
    }

    // With it: o tanh(c) and its norm, the gates, their norms; each needs sums over the row before it.
    void normed() const {
        using L = Lanes<T, V>;
        const T count = static_cast<T>(H);
        const Vec<T, V> mean = broadcast<V>(extra[4 * H + 4]), factor = broadcast<V>(extra[4 * H + 5]);
        const auto normed_cell = [&](const Units<T, V>& units) {
            return (load<V>(cell + units.unit, units.lanes) - mean) * factor;
        };
        RowSum<T, V> sum, product;
        for (int64_t block = 0; block < blocks; ++block) {
            const Units<T, V> units = units_of(block);
            const Vec<T, V> o = load<V>(gates + (3 * H + units.unit), units.lanes), normed = normed_cell(units);
            const Vec<T, V> gain = units.of(b.variant.cell_gain);
            const auto back = show_adjoint(units, o, L::fma(gain, normed, units.of(b.variant.cell_bias)), block);
            store<V>(vector(block, 3), back.d_o);
            store<V>(vector(block, 4), back.dshown);
            sum.add(block, back.dshown * gain);
            product.add(block, back.dshown * gain * normed);
        }
        const Vec<T, V> of_sum = broadcast<V>(sum.total() / count),
                        of_product = broadcast<V>(product.total() / count);
        RowSum<T, V> sums[4], products[4];
        for (int64_t block = 0; block < blocks; ++block) {
            const Units<T, V> units = units_of(block);
            const Vec<T, V> d = load<V>(vector(block, 4)) * units.of(b.variant.cell_gain);
            const Vec<T, V> dshown = factor * (d - of_sum - normed_cell(units) * of_product);
            const Gates<T, V> gate = load_gates<T, V>(gates + units.unit, H, units.lanes);
            const Gates<T, V> dpre = go_back(units, gate, dshown, load<V>(vector(block, 3))).dpre;
            give(block, dpre, false);
            const Vec<T, V> each[4] = {dpre.i, dpre.f, dpre.g, dpre.o};
            for (int j = 0; j < 4; ++j) {
                const Vec<T, V> d_normed = each[j] * units.of(b.variant.gains + j * H);
                sums[j].add(block, d_normed);
                products[j].add(block, d_normed * units.of(extra + j * H));
            }
        }
        Vec<T, V> of_sums[4], of_products[4], of_gate[4];
        for (int j = 0; j < 4; ++j) {
            of_sums[j] = broadcast<V>(sums[j].total() / count);
            of_products[j] = broadcast<V>(products[j].total() / count);
            of_gate[j] = broadcast<V>(extra[4 * H + j]);
        }
        for (int64_t block = 0; block < blocks; ++block) {
            const Units<T, V> units = units_of(block);
            Vec<T, V> d[4];
            for (int j = 0; j < 4; ++j) {
                const Vec<T, V> d_normed = load<V>(vector(block, j)) * units.of(b.variant.gains + j * H);
                const Vec<T, V> off = d_normed - of_sums[j] - units.of(extra + j * H) * of_products[j];
                d[j] = first_lanes<T, V>(of_gate[j] * off, units.lanes);
            }
            store_gates<T, V>(out(block), Gates<T, V>{d[0], d[1], d[2], d[3]});
        }
    }

    // The h that products read, for the gradient of W_hh.
    void mask_hidden(In hidden) const {
        const int64_t P = b.sizes.P, all = blocks_of<V>(P);
        const bool by_units = share.block_end - share.block_begin < blocks;
        const int64_t end = by_units ? share.block_end : all;
        for (int64_t block = share.block_begin; block < end; ++block) {
            const int64_t k = block * V;
            store<V>(chunk.h_masked + local * P + k,
                     load<V>(hidden + k, P - k) * load<V>(b.mask + row * P + k, P - k), P - k);
        }
    }

  private:
    const Backward<T, S>& b;
    const Chunk<T, S>& chunk;
    const Share& share;
    const int64_t row, H, t, blocks, local;
    In gates, cell, before, dgates_in, dcell_in, dy;
    const T *dh, *extra;
    T* dvectors;
    Factors4<T> factors;

    Units<T, V> units_of(int64_t block) const {
        return {b.variant, H, block * V, H - block * V, bytes_of(gates) < int64_t{sizeof(T)}};
    }
    T* vector(int64_t block, int number) const { return dvectors + (block * 5 + number) * V; }
    Operand<S>* out(int64_t block) const {
        constexpr int64_t kBlock = operands_of<Operand<S>>(4 * V);
        return chunk.dgates + (local * blocks + block) * kBlock;
    }

    GATEWRIGHT_INLINE HiddenAdjoint<T, V> show_adjoint(const Units<T, V>& units, Vec<T, V> o, Vec<T, V> shown,
                                                       int64_t block) const {
        const int64_t unit = units.unit, lanes = units.lanes;
        const Vec<T, V> dh_next = load<V>(dh + unit, lanes) + load_or_zero<T, V>(dy, unit, lanes);
        const auto back = hidden_adjoint<T, V>(units, o, shown, dh_next, factors);
        if (b.carried) store<V>(b.carried + row * H + unit, back.dh, lanes);
        if (b.sizes.projected)
            store_hidden<T, V>(chunk, local, block, blocks, hidden_of<T, V>(b.variant, o, shown));
        return back;
    }

    GATEWRIGHT_INLINE Returned<T, V> go_back(const Units<T, V>& units, const Gates<T, V>& gate, Vec<T, V> dshown,
                                             Vec<T, V> d_o) const {
        const int64_t unit = units.unit, lanes = units.lanes;
        Gates<T, V> d{};
        if (dgates_in) d = load_gates<T, V>(dgates_in + unit, H, lanes);
        d.o += d_o;
        T* const dc = b.dc + row * H + unit;
        const Vec<T, V> dc_next = load<V>(dc, lanes) + load_or_zero<T, V>(dcell_in, unit, lanes) + dshown;
        const auto back = advance_adjoint<T, V>(units, gate, load<V>(before + unit, lanes), dc_next, d, factors);
        store<V>(dc, back.dc, lanes);
        return back;
    }

    // final: whether the products take them as they are.
    GATEWRIGHT_INLINE void give(int64_t block, const Gates<T, V>& dpre, bool final) const {
        if (final) store_gates<T, V>(out(block), dpre);
        if (!dvectors) return;
        store<V>(vector(block, 0), dpre.i);
        store<V>(vector(block, 1), dpre.f);
        store<V>(vector(block, 2), dpre.g);
        store<V>(vector(block, 3), dpre.o);
    }
};

template <class T, int V, class S>
void slstm_adjoint_row(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t s, int64_t row,
                       const Share& share);

template <class T, int V, class S>
__attribute__((noinline)) void general_adjoint_row(const Backward<T, S>& b, const Chunk<T, S>& chunk, int64_t s,
                                                   int64_t row, const Share& share) {
    const GeneralRow<T, V, S> general(b, chunk, s, row, share);
    if (chunk.h_masked) general.mask_hidden(hidden_before(b, s, row));
    if (b.variant.slstm) return slstm_adjoint_row<T, V>(b, chunk, s, row, share);
    b.variant.gains ? general.normed() : general.plain();
}

// dh of a step, for these columns, from what the product with W_hh gave.
template <class T, int V, class S>
__attribute__((noinline)) void finish_dh(const Backward<T, S>& b, int64_t row_begin, int64_t row_end,
                                         int64_t begin, int64_t end) {
    const int64_t P = b.sizes.P;
    if (!b.mask && !b.carried) return;
    for (int64_t row = row_begin; row < row_end; ++row)
        for (int64_t block = begin; block < end; ++block) {
            const int64_t k = block * V, lanes = P - k;
            Vec<T, V> dh = load<V>(b.dh + row * P + k, lanes);
            if (b.mask) dh = dh * load<V>(b.mask + row * P + k, lanes);
            if (b.carried) dh = dh + load<V>(b.carried + row * P + k, lanes);
            store<V>(b.dh + row * P + k, dh, lanes);
        }
}

// What the rows of a chunk give to the vectors of the cell; the units are split between threads, never the sum.
template <class T, int V, class S>
__attribute__((noinline)) void vector_adjoints(const Backward<T, S>& b, const Chunk<T, S>& chunk, int rank,
                                               int size) {
    const int64_t H = b.sizes.H, blocks = blocks_of<V>(H);
    const Part part(blocks, rank, size);
    for (int64_t block = part.begin; block < part.end; ++block) {
        const int64_t unit = block * V, lanes = H - unit;
        Vec<T, V> sum[kVectors]{};
        for (int64_t s = chunk.begin; s < chunk.end; ++s) {
            const int64_t t = b.steps.time(s), first = chunk.first[s - chunk.begin];
            const int64_t rows = chunk.first[s - chunk.begin + 1] - first;
            for (int64_t row = 0; row < rows; ++row) {
                const T* const d = chunk.dvectors + ((first + row) * blocks + block) * 5 * V;
                const int64_t place = kept_at<true>(b, t, row);
                const Vec<T, V> c = load<V>(b.cell + (place * H + unit), lanes);
                if (b.variant.peepholes) {
                    const Vec<T, V> before = load<V>(cell_before<true>(b, s, row) + unit, lanes);
                    sum[0] = Lanes<T, V>::fma(load<V>(d), before, sum[0]);
                    sum[1] = Lanes<T, V>::fma(load<V>(d + V), before, sum[1]);
                    sum[2] = Lanes<T, V>::fma(load<V>(d + 3 * V), c, sum[2]);
                }
                if (!b.extra) continue;
                const T* const extra = b.extra + place * norm_width(H);
                for (int j = 0; j < 4; ++j) {
                    const Vec<T, V> dpre = load<V>(d + j * V);
                    sum[3 + j] = Lanes<T, V>::fma(dpre, load<V>(extra + j * H + unit, lanes), sum[3 + j]);
                    sum[9 + j] += dpre;
                }
                const Vec<T, V> dshown = load<V>(d + 4 * V);
                const Vec<T, V> normed = (c - broadcast<V>(extra[4 * H + 4])) * broadcast<V>(extra[4 * H + 5]);
                sum[7] = Lanes<T, V>::fma(dshown, normed, sum[7]);
                sum[8] += dshown;
            }
        }
        for (int k = 0; k < kVectors; ++k) {
            T* const place = b.dvectors + (block * kVectors + k) * V;
            store<V>(place, load<V>(place) + sum[k]);
        }
    }
}

template <class T, int V, class S>
void unpack_vectors(const Backward<T, S>& b, const VariantGradients<T>& to, int rank, int size) {
    const int64_t H = b.sizes.H;
    const Part part(blocks_of<V>(H), rank, size);
    for (int64_t block = part.begin; block < part.end; ++block) {
        const auto give = [&](T* vectors, int first, int count) {
            for (int k = 0; vectors && k < count; ++k)
                store<V>(vectors + k * H + block * V, load<V>(b.dvectors + (block * kVectors + first + k) * V),
                         H - block * V);
        };
        give(to.peepholes, 0, kPeepholeVectors);
        give(to.gains, 3, 4);
        give(to.cell_gain, 7, 1);
        give(to.cell_bias, 8, 1);
        give(to.bias, 9, 4);
    }
}

}  // namespace gatewright::GATEWRIGHT_TARGET
