// Making a model: its weights into panels, and those of the gates into fewer bits where that is wished.
#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/dispatch.h"
#include "kernels/sequence.h"
#include "stream/stream.h"

namespace gatewright {

namespace {

// The nearest bfloat16, the even one of two that are as near; never infinite for a finite weight.
uint16_t nearest(float weight) {
    const uint32_t bits = std::bit_cast<uint32_t>(weight);
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return static_cast<uint16_t>((rounded & 0x7FFF) == 0x7F80 ? rounded - 1 : rounded);
}

// Packs a panel (blocks, width, 4, V) into lanes of two neighbours each.
Narrow narrow_to_bfloat16(const float* panel, int64_t blocks, int64_t width, int64_t V, uint32_t* to) {
    const int64_t row = 4 * V;
    uint32_t* pair = to;
    for (int64_t block = 0; block < blocks; ++block, panel += width * row)
        for (int64_t k = 0; k < width; k += 2, pair += row)
            for (int64_t n = 0; n < row; ++n) {
                const float* const from = panel + k * row + n;
                pair[n] = nearest(from[0]) | (k + 1 < width ? uint32_t{nearest(from[row])} << 16 : 0);
            }
    return {to, Bytes::none, nullptr, nullptr};
}

// Keeps bias and projection of a layer's panels, and the weights of its gates in bfloat16.
void narrow(Model::Layer& layer) {
    auto& [kernels, forward, full] = std::get<Model::Packed<float>>(layer.packed);
    const Sizes& n = layer.sizes;
    const int64_t V = kernels->width, blocks = (n.H + V - 1) / V, lanes = 4 * V;
    const int64_t projection = n.projected ? (n.P + V - 1) / V * V * n.H : 0;
    // Of W_ih, or W_hh, in memory of 32 bits.
    const auto words = [&](int64_t width) { return blocks * lanes * operands_of<uint32_t>(width); };
    layer.narrow_memory = std::make_unique<Workspace<uint32_t>>(words(n.D) + words(n.P));
    uint32_t* const memory = layer.narrow_memory->get();
    Panels<float> panels{};
    panels.format = WeightFormat::bfloat16;
    panels.narrow_ih = narrow_to_bfloat16(full.W_ih, blocks, n.D, V, memory);
    panels.narrow_hh = narrow_to_bfloat16(full.W_hh, blocks, n.P, V, memory + words(n.D));
    auto rest = std::make_unique<Workspace<float>>(blocks * lanes + projection);
    panels.bias = std::copy_n(full.bias, blocks * lanes, rest->get()) - blocks * lanes;
    if (n.projected) {
        panels.W_hr = rest->get() + blocks * lanes;
        std::copy_n(full.W_hr, projection, panels.W_hr);
    }
    full = panels;
    layer.memory = std::move(rest);
}

template <class S>
Model::Layer packed_as(const Kernels<float, S>& kernels, const Sizes& sizes, const Weights<float>& weights) {
    auto memory = std::make_unique<Workspace<float>>(kernels.panels_size(sizes, true, false));
    const Weights<float, S> given{weights.W_ih, weights.W_hh, weights.b_ih, weights.b_hh, weights.W_hr};
    const auto panels = pack_weights(kernels, sizes, given, memory->get());
    return {sizes, Model::Packed<S>{&kernels, kernels.forward, panels}, std::move(memory), nullptr, {}, {}};
}

Model::Layer packed_in_int8(const Sizes& sizes, const Weights<float>& weights, bool whole) {
    const Int8Kernels& kernels = *target().int8;
    auto memory = std::make_unique<Workspace<uint32_t>>(kernels.panels_size(sizes));
    const Panels<float> panels = kernels.layout(sizes, whole ? Bytes::of_row : Bytes::none,
                                                whole ? bytes_of_hidden(sizes) : Bytes::none, memory->get());
    kernels.pack(sizes, weights, panels, 0, 1);
    return {sizes, Model::Packed<float>{target().f32[0], kernels.forward, panels}, nullptr, std::move(memory), {},
            {}};
}

Model::Layer packed(const ModelParts::Layer& part, Kept kept) {
    const bool projected = part.weights.W_hr != nullptr;
    const Sizes sizes{1, 1, part.D, part.H, part.P, projected, part.head};
    const auto as = [&]<class S>(const Kernels<float, S>& kernels) {
        return packed_as(kernels, sizes, part.weights);
    };
    if (kept == Kept::bfloat16) return as(forward_kernels_for<float, BFloat16>(target(), part.H));
    if (kept == Kept::int8 || kept == Kept::int8_float32)
        return packed_in_int8(sizes, part.weights, kept == Kept::int8);
    Model::Layer layer = as(forward_kernels_for<float>(target(), part.H));
    if (kept == Kept::bfloat16_float32) narrow(layer);
    return layer;
}

// Copies the vectors of a layer's cell.  With layer norm the bias comes after it, and panels begin from zeros.
void set_variant(Model::Layer& layer, const Variant<float>& variant) {
    if (!variant.general) return;
    const int64_t H = layer.sizes.H, width = layer.width(), lanes = (H + width - 1) / width * width;
    // Room for all of them: their places stay.
    layer.vectors.reserve(3 * H + 6 * H + 4 * lanes);
    const auto copied = [&](const float* from, int64_t count) -> const float* {
        if (!from) return nullptr;
        layer.vectors.insert(layer.vectors.end(), from, from + count);
        return layer.vectors.data() + layer.vectors.size() - count;
    };
    Variant<float>& own = layer.variant = variant;
    own.peepholes = copied(variant.peepholes, 3 * H);
    own.gains = copied(variant.gains, 4 * H);
    own.cell_gain = copied(variant.cell_gain, H);
    own.cell_bias = copied(variant.cell_bias, H);
    if (!own.gains) return;
    layer.vectors.resize(layer.vectors.size() + 4 * lanes);
    std::visit(
        [&](auto& packed) {
            own.bias = packed.panels.bias;
            packed.panels.bias = layer.vectors.data() + layer.vectors.size() - 4 * lanes;
        },
        layer.packed);
}

}  // namespace

Model::Model(const ModelParts& parts)
    : reads(parts.reads),
      symbols(parts.reads == Reads::symbols ? parts.symbols : 0),
      columns(parts.columns),
      pooling(parts.pooling),
      residual(parts.residual),
      head_{parts.layers.back().P, parts.head_W ? parts.out : 0, nullptr},
      head_kernels_(&kernels_for<float>(target(), std::max<int64_t>(parts.out, 1))),
      hidden_width_(0),
      cell_width_(0),
      units_(0),
      weight_bytes_(0) {
    constexpr int64_t kBytes[] = {4, 2, 1, 2, 1};  // a weight of the gates, by how it is kept
    for (const ModelParts::Layer& part : parts.layers) {
        layers_.push_back(packed(part, parts.kept));
        set_variant(layers_.back(), part.variant);
        hidden_width_ += part.P;
        cell_width_ += layers_.back().cell_width();
        units_ += part.H;
        weight_bytes_ +=
            4 * part.H * (part.D + layers_.back().sizes.read()) * kBytes[static_cast<int>(parts.kept)];
    }
    if (symbols) embedding_.assign(parts.embedding, parts.embedding + symbols * parts.layers[0].D);
    if (pooling == Pooling::attention) pool_W_.assign(parts.pool_W, parts.pool_W + parts.layers.back().P);
    if (!head_.out) return;
    head_memory_ = std::make_unique<Workspace<float>>(head_kernels_->linear_size(head_.in, head_.out));
    head_kernels_->pack_linear(parts.head_W, parts.head_b, head_.in, head_.out, head_memory_->get());
    head_.panel = head_memory_->get();
}

int64_t Model::output_width() const {
    if (reads == Reads::series) return columns.horizon * columns.targets * columns.quantiles;
    return head_.out ? head_.out : layers_.back().sizes.P;
}

int64_t Model::input_width() const {
    if (reads == Reads::symbols) return 1;
    return reads == Reads::series || !columns.categories.empty() ? columns.width() : layers_[0].sizes.D;
}

bool Model::takes_hidden(const float* hidden) const {
    bool good = true;
    for (const Layer& layer : layers_) {
        const int64_t P = layer.sizes.P;
        if (layer.in_bytes() && !layer.sizes.projected)
            good &= std::all_of(hidden, hidden + P, [](float h) { return -1 <= h && h <= 1; });
        hidden += P;
    }
    return good;
}

bool Model::takes_cell(const float* cell) const {
    bool good = true;
    for (const Layer& layer : layers_) {
        const float* const n = cell + layer.sizes.H;
        if (layer.variant.slstm) good &= std::all_of(n, n + layer.sizes.H, [](float each) { return each >= 0; });
        cell += layer.cell_width();
    }
    return good;
}

}  // namespace gatewright
