// Memory that a whole call needs, filled by all threads together.
#pragma once

#include <cstring>

#include "kernels/lstm.h"
#include "support/workspace.h"

namespace gatewright {

// Elements begin .. end - 1, from memory or zeros.
template <class T>
void copy_or_zero(T* to, const T* from, int64_t begin, int64_t end) {
    if (end <= begin) return;
    if (from)
        std::memcpy(to + begin, from + begin, (end - begin) * sizeof(T));
    else
        std::memset(to + begin, 0, (end - begin) * sizeof(T));
}

// The weights in panels: made by all ranks together, in memory that goes back when this does.
template <class T, class S>
class Packed {
  public:
    // for_dx, for_dh: whether the panels of W_ih and W_hh are wanted that these are products of.
    Packed(const Kernels<T, S>& kernels, const Sizes& sizes, bool forward, bool backward, bool for_dx = true,
           bool for_dh = true)
        : kernels_(kernels),
          sizes_(sizes),
          forward_(forward),
          backward_(backward),
          memory_(kernels.panels_size(sizes, forward, backward)),
          panels_(kernels.layout(sizes, memory_.get(), forward, backward)) {
        if (!for_dx) panels_.W_ih_t = nullptr;
        if (!for_dh) panels_.W_hh_t = nullptr;
    }
    void pack(const Weights<T, S>& weights, int rank, int size) const {
        kernels_.pack(sizes_, weights, panels_, forward_, backward_, rank, size);
    }
    const Panels<T, PanelElement<T, S>>& panels() const { return panels_; }

  private:
    const Kernels<T, S>& kernels_;
    const Sizes& sizes_;
    const bool forward_, backward_;
    const Workspace<T> memory_;
    Panels<T, PanelElement<T, S>> panels_;
};

// The same for a forward pass with weights of int8.
class PackedBytes {
  public:
    PackedBytes(const Int8Kernels& kernels, const Sizes& sizes)
        : kernels_(kernels),
          sizes_(sizes),
          memory_(kernels.panels_size(sizes)),
          panels_(kernels.layout(sizes, Bytes::of_row, bytes_of_hidden(sizes), memory_.get())) {}
    void pack(const Weights<float>& weights, int rank, int size) const {
        kernels_.pack(sizes_, weights, panels_, rank, size);
    }
    const Panels<float>& panels() const { return panels_; }

  private:
    const Int8Kernels& kernels_;
    const Sizes& sizes_;
    const Workspace<uint32_t> memory_;
    const Panels<float> panels_;
};

}  // namespace gatewright
