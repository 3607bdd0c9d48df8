// Python's lock, released while the kernels work.
#pragma once

#include <Python.h>

#include <chrono>
#include <thread>

namespace gatewright {

// Releases the GIL for as long as it lives.
//
// A daemon thread that asks for the GIL while the interpreter shuts down never gets it: before Python 3.14 its
// stack is unwound instead, which ends the whole process in the first frame that lets no exception out.  Such a
// thread waits here for the end of the process, as it does in Python 3.14.
class Unlocked {
  public:
    Unlocked() : state_(PyEval_SaveThread()) {}
    ~Unlocked() {
        try {
            PyEval_RestoreThread(state_);
        } catch (...) {
            for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
        }
    }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

  private:
    PyThreadState* const state_;
};

}  // namespace gatewright
