// Steps of one layer, with its states of the sessions.
#include <algorithm>

#include "kernels/sequence.h"
#include "stream/stream.h"
#include "support/subnormals.h"

namespace gatewright {

// Sets what the walk needs of another cell than the plain one; h_last where that is not set yet.
template <class S>
void Stream::set_variant(Forward<float, S>& f, Scratch& s, const Variant<float>& variant) const {
    f.variant = variant;
    f.before_norm = s.before_norm.data();
    f.before_norm_rows = f.sizes.B;
    if (f.h_last || !variant.keeps_hidden()) return;
    f.h_last = s.h_kept.data();
    std::copy_n(s.h[0].data(), f.sizes.B * f.sizes.P, f.h_last);
}

template <class S>
void Stream::run_layer(const Advance& call, const Part& part, Scratch& s, const Place& place,
                       const Model::Packed<S>& packed, const Rows<const float>& x, float* y) {
    constexpr bool kNarrow = std::is_same_v<S, BFloat16>;
    const Model::Layer& layer = place.layer;
    const int64_t H = layer.sizes.H, P = layer.sizes.P, cell_width = layer.cell_width(),
                  width = packed.kernels->width;
    const int64_t blocks = (H + width - 1) / width, rows = part.rows;
    Forward<float, S> f{};
    f.sizes = layer.sizes;
    f.sizes.T = part.steps;
    f.sizes.B = rows;
    f.steps = {part.steps, rows, nullptr, nullptr, false};
    f.end = part.steps;
    f.panels = packed.panels;
    f.x = {x.data, x.step, x.row};
    f.y = {y, rows * P, P};
    f.c = s.c.data();
    if (part.steps > 1) f.ahead_steps = ahead_steps(f.sizes, part.steps, rows, blocks * width, sizeof(float));
    f.ahead_size = f.ahead_steps * rows * blocks * width * 4;
    f.ahead = f.ahead_steps ? s.ahead.data() : nullptr;
    if (call.gates) {
        s.gates.resize(part.steps * rows * 4 * H);
        s.kept.resize(part.steps * rows * H);
        f.gates = s.gates.data();
        f.cell = s.kept.data();
    }
    for (int64_t b = 0; b < rows; ++b) {
        const int64_t session = call.sessions[part.first_row + b];
        std::copy_n(hidden(session) + place.hidden, P, s.h[0].data() + b * P);
        std::copy_n(cell(session) + place.cell, cell_width, f.c + b * cell_width);
    }
    const float* h = s.h[part.steps % 2].data();  // where the last step leaves it
    if constexpr (kNarrow) {
        f.h[0] = s.operands.data();
        f.h[1] = f.h[0] + rows * pairs_of(P);
        f.hidden = f.h[1] + rows * pairs_of(P);
        f.operands = f.hidden + rows * pairs_of(H);
        f.h_last = s.h[0].data();
        h = f.h_last;
    } else {
        f.h[0] = s.h[0].data();
        f.h[1] = s.h[1].data();
        f.hidden = s.hidden.data();
        f.h_bytes = {s.operands.data(), s.scales.data(), rows};
        f.x_bytes = {f.h_bytes.data + rows * quads_of(P), f.h_bytes.scales + rows, part.steps * rows};
    }
    set_variant(f, s, layer.variant);
    {
        const FlushSubnormals flush(kNarrow);
        if constexpr (kNarrow) packed.kernels->operands(h, P, P, f.h[0], rows);
        packed.forward(f, {0, 1, 0, rows, 0, blocks}, nullptr);
    }
    for (int64_t b = 0; b < rows; ++b) {
        const int64_t session = call.sessions[part.first_row + b];
        std::copy_n(h + b * P, P, hidden(session) + place.hidden);
        std::copy_n(f.c + b * cell_width, cell_width, cell(session) + place.cell);
    }
    if (!call.gates) return;
    for (int64_t t = 0; t < part.steps; ++t) {
        const int64_t row = (part.first_step + t) * call.B + part.first_row;
        std::copy_n(s.gates.data() + t * rows * 4 * H, rows * 4 * H,
                    call.gates + (place.unit * call.T * call.B + row * H) * 4);
        std::copy_n(s.kept.data() + t * rows * H, rows * H, call.cell + place.unit * call.T * call.B + row * H);
    }
}

template void Stream::run_layer(const Advance&, const Part&, Scratch&, const Place&, const Model::Packed<float>&,
                                const Rows<const float>&, float*);
template void Stream::run_layer(const Advance&, const Part&, Scratch&, const Place&,
                                const Model::Packed<BFloat16>&, const Rows<const float>&, float*);

}  // namespace gatewright
