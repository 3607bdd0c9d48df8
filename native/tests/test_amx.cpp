// The compiled instructions of the target amx against its model, to the bit.
//
// A processor that lacks them raises an exception at each of them, and the handler here does what the instruction
// would: it reads registers and places from its bytes, so that what it runs is the code of the target itself.
#include "check.h"
#include "kernels/sequence.h"
#include "support/subnormals.h"

#if defined(__x86_64__) && defined(__linux__)

#include <signal.h>
#include <ucontext.h>

#include <random>

namespace gatewright::tests {

namespace {

struct Registers {
    bool configured = false;
    uint8_t shapes[64];
    uint32_t tile[8][16][16];

    int rows(int n) const { return shapes[48 + n]; }
    int bytes(int n) const { return shapes[16 + 2 * n] + 256 * shapes[17 + 2 * n]; }
};

thread_local Registers registers;
std::atomic<int64_t> products{0};

// An instruction with a VEX prefix of three bytes, as all of AMX have.
class Instruction {
  public:
    explicit Instruction(ucontext_t* context) : context_(context), code_(bytes_at(general(REG_RIP))) {}

    bool is(int prefix, int opcode) const {
        return code_[0] == 0xc4 && (code_[1] & 31) == 2 && (code_[2] & 0x87) == prefix && code_[3] == opcode;
    }
    bool in_memory() const { return code_[4] >> 6 != 3; }
    int reg() const { return code_[4] >> 3 & 7; }
    int rm() const { return code_[4] & 7; }
    int third() const { return ~code_[2] >> 3 & 7; }
    uint8_t* address() const { return bytes_at(base() + displacement()); }
    int64_t stride() const {
        const int index = (code_[5] >> 3 & 7) | (code_[1] & 0x40 ? 0 : 8);
        return number(index) << (code_[5] >> 6);
    }
    void end() const { general(REG_RIP) += length(); }

  private:
    ucontext_t* const context_;
    const uint8_t* const code_;

    static uint8_t* bytes_at(int64_t address) { return reinterpret_cast<uint8_t*>(address); }
    greg_t& general(int name) const { return context_->uc_mcontext.gregs[name]; }
    int64_t number(int n) const {
        constexpr int kNames[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
        return general(kNames[n]);
    }
    bool indexed() const { return in_memory() && rm() == 4; }
    bool relative() const { return code_[4] >> 6 == 0 && rm() == 5; }
    int displacement_bytes() const {
        const int mode = code_[4] >> 6;
        return mode == 1 ? 1 : mode == 2 || relative() ? 4 : 0;
    }
    int length() const { return 5 + indexed() + displacement_bytes(); }
    int64_t base() const {
        if (relative()) return general(REG_RIP) + length();
        return number((indexed() ? code_[5] & 7 : rm()) | (code_[1] & 0x20 ? 0 : 8));
    }
    int64_t displacement() const {
        const uint8_t* const at = code_ + 5 + indexed();
        int32_t wide = 0;
        if (displacement_bytes() == 1) return static_cast<int8_t>(*at);
        if (displacement_bytes() == 4) std::memcpy(&wide, at, 4);
        return wide;
    }
};

float half(uint32_t pair, int n) { return std::bit_cast<float>(n == 0 ? pair << 16 : pair & 0xffff0000u); }

void multiply(int sums, int left, int right) {
    Registers& r = registers;
    const int depth = r.bytes(left) / 4, width = r.bytes(sums) / 4;
    if (r.rows(left) != r.rows(sums) || r.rows(right) != depth || r.bytes(right) / 4 != width) std::abort();
    for (int m = 0; m < r.rows(sums); ++m)
        for (int n = 0; n < width; ++n) {
            float of[2] = {};
            for (int k = 0; k < depth; ++k)
                for (int e = 0; e < 2; ++e)
                    of[e] = std::fma(half(r.tile[left][m][k], e), half(r.tile[right][k][n], e), of[e]);
            const float sum = std::bit_cast<float>(r.tile[sums][m][n]) + (of[0] + of[1]);
            r.tile[sums][m][n] = std::bit_cast<uint32_t>(sum);
        }
    ++products;
}

void emulate(int, siginfo_t*, void* context) {
    constexpr int kNone = 0, kF3 = 2, kF2 = 3;
    const FlushSubnormals flush(true);  // a handler starts with the mode of a new process
    const Instruction i(static_cast<ucontext_t*>(context));
    Registers& r = registers;
    if (i.is(kNone, 0x49)) {
        r.configured = i.in_memory();
        if (r.configured) std::memcpy(r.shapes, i.address(), 64);
        std::memset(r.tile, 0, sizeof r.tile);
    } else if (!r.configured || r.shapes[0] != 1 || r.shapes[1] != 0) {
        std::abort();
    } else if (i.is(kF2, 0x4b)) {
        for (int m = 0; m < r.rows(i.reg()); ++m)
            std::memcpy(r.tile[i.reg()][m], i.address() + m * i.stride(), r.bytes(i.reg()));
    } else if (i.is(kF3, 0x4b)) {
        for (int m = 0; m < r.rows(i.reg()); ++m)
            std::memcpy(i.address() + m * i.stride(), r.tile[i.reg()][m], r.bytes(i.reg()));
    } else if (i.is(kF3, 0x5c)) {
        multiply(i.reg(), i.rm(), i.third());
    } else {
        std::abort();
    }
    i.end();
}

using Numbers = std::vector<float>;

Numbers values(int64_t size) {
    static std::mt19937 random(5);
    Numbers all(size);
    for (float& each : all) each = static_cast<float>(random() * 0x1p-31 - 1);
    return all;
}

// All that a pass there and back gives.
std::vector<Numbers> results(const Kernels<float, BFloat16>& kernels, const Sizes& n,
                             const std::vector<Numbers>& in) {
    const int64_t rows = n.T * n.B;
    std::vector<Numbers> out;
    const auto make = [&](int64_t size) { return out.emplace_back(size).data(); };
    out.reserve(16);
    ForwardCall<float, BFloat16> f{};
    f.sizes = n;
    f.steps = {n.T, n.B, nullptr, nullptr, false};
    f.weights = {in[0].data(), in[1].data(), in[2].data(), in[2].data(), n.projected ? in[3].data() : nullptr};
    f.x = {in[4].data(), n.B * n.D, n.D};
    f.h_0 = in[5].data();
    f.c_0 = in[6].data();
    float* const y = make(rows * n.P);
    f.y = {y, n.B * n.P, n.P};
    f.h_n = make(n.B * n.P);
    f.c_n = make(n.B * n.H);
    f.gates = make(rows * 4 * n.H);
    f.cell = make(rows * n.H);
    f.threads = 2;
    run_forward(kernels, f);
    BackwardCall<float, BFloat16> b{};
    b.sizes = n;
    b.steps = f.steps;
    b.weights = f.weights;
    b.x = f.x;
    b.y = {y, n.B * n.P, n.P};
    b.h_0 = f.h_0;
    b.c_0 = f.c_0;
    b.gates = f.gates;
    b.cell = f.cell;
    b.dy = {in[7].data(), n.B * n.P, n.P};
    b.dx = {make(rows * n.D), n.B * n.D, n.D};
    b.dh_0 = make(n.B * n.P);
    b.dc_0 = make(n.B * n.H);
    b.dW_ih = make(4 * n.H * n.D);
    b.dW_hh = make(4 * n.H * n.P);
    b.db = make(4 * n.H);
    if (n.projected) b.dW_hr = make(n.P * n.H);
    b.threads = 2;
    run_backward(kernels, b);
    float* const head = make(rows * n.H);
    run_linear(kernels, LinearCall<float, BFloat16>{in[1].data(), nullptr, n.P, n.H, rows, y, head, 1});
    return out;
}

}  // namespace

void test_amx() {
    if (!supported(avx512bf16_target)) return;
    struct sigaction before, now{};
    now.sa_sigaction = emulate;
    now.sa_flags = SA_SIGINFO;
    if (!supported(amx_target)) sigaction(SIGILL, &now, &before);
    for (const Sizes& n : {Sizes{3, 19, 37, 45, 45, false}, Sizes{2, 16, 64, 32, 34, true},
                           Sizes{9, 1, 33, 70, 70, false}, Sizes{5, 8, 3, 16, 40, true}}) {
        context = "amx B=" + std::to_string(n.B) + " H=" + std::to_string(n.H);
        std::vector<Numbers> in;
        for (const int64_t size : {4 * n.H * n.D, 4 * n.H * n.P, 4 * n.H, n.P * n.H, n.T * n.B * n.D, n.B * n.P,
                                   n.B * n.H, n.T * n.B * n.P})
            in.push_back(values(size));
        const auto expected = results(**amxmodel_target.bf16, n, in), got = results(**amx_target.bf16, n, in);
        for (std::size_t k = 0; k < got.size(); ++k)
            CHECK_SAYING(same_bits(got[k], expected[k]), "result " + std::to_string(k) + " has other bits");
    }
    context.clear();
    if (supported(amx_target)) return;
    sigaction(SIGILL, &before, nullptr);
    CHECK(products > 100);
    CHECK(!registers.configured);
}

}  // namespace gatewright::tests

#else

namespace gatewright::tests {

void test_amx() {}

}  // namespace gatewright::tests

#endif
