// SPDX-License-Identifier: BSL-1.0
// Measures the time of calls on a device, for different calls, numbers of tracked files and
// threads.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <deque>
#include <memory>
#include <mutex>
#include <ratio>
#include <thread>
#include <type_traits>

#include "patterns.hpp"

namespace bench {
namespace {

using clock = std::chrono::steady_clock;

double nanoseconds(clock::duration d) {
  return std::chrono::duration<double, std::nano>(d).count();
}

std::size_t argument(const benchmark::State& state, std::size_t which = 0) {
  return static_cast<std::size_t>(state.range(which));
}

std::uint64_t rounds(const benchmark::State& state) {
  return static_cast<std::uint64_t>(state.iterations());
}

template <class Pattern>
void repeat(benchmark::State& state) {
  Pattern round(argument(state));
  bool good = round.good();
  for (auto _ : state) good = round() && good;
  if (!good) state.SkipWithError("an ADD or DEL failed");
  state.SetComplexityN(state.range(0));
}
template <class Subject>
void add_del(benchmark::State& state) {
  repeat<patterns::add_del<Subject>>(state);
}
template <class Subject>
void shrunk(benchmark::State& state) {
  repeat<patterns::shrunk<Subject>>(state);
}
template <class Subject>
void replace_any(benchmark::State& state) {
  repeat<patterns::replace_any<Subject>>(state);
}
template <class Subject>
void fill_drain(benchmark::State& state) {
  repeat<patterns::fill_drain<Subject>>(state);
}
template <class Subject>
void life(benchmark::State& state) {
  repeat<patterns::life<Subject>>(state);
}

// Fills an empty device with n files. A round has so many ADDs that reading the clock does not
// matter.
template <class Subject>
void fill(benchmark::State& state) {
  const std::size_t n = argument(state);
  bool good = true;
  for (auto _ : state) {
    auto s = std::make_unique<Subject>(n, 0);
    const auto began = clock::now();
    for (std::size_t i = 0; i < n; ++i) good = add(s->device, s->all[i]) == errc::ok && good;
    state.SetIterationTime(nanoseconds(clock::now() - began) / 1e9);
  }
  if (!good) state.SkipWithError("an ADD failed");
  state.SetComplexityN(state.range(0));
}

// An epoch ends before each ADD. This is the worst case: the device asks all files.
void epoch_ends(benchmark::State& state) {
  const std::size_t n = argument(state);
  auto s = std::make_unique<epoch>(n, n - 1);
  vfio_file* const f = s->all[n - 1];
  bool good = s->good;
  for (auto _ : state) {
    ++s->vfio.epoch;
    good = add(s->device, f) == errc::ok && del(s->device, f) == errc::ok && good;
  }
  if (!good) state.SkipWithError("an ADD or DEL failed");
  state.SetComplexityN(state.range(0));
}

constexpr std::int64_t most = 65536;
template <std::int64_t Most>
void sizes_to(benchmark::internal::Benchmark* b) {
  for (std::int64_t n = 1; n <= Most; n *= n < 16 ? 2 : 4) b->Arg(n);
  b->Arg(17)->Complexity();
}
constexpr auto* sizes = sizes_to<most>;
void many(benchmark::internal::Benchmark* b) {
  for (std::int64_t n = 256; n <= most / 4; n *= 4) b->Arg(n);
  b->Unit(benchmark::kMicrosecond)->UseManualTime()->Complexity();
}
void few(benchmark::internal::Benchmark* b) {
  for (std::int64_t n = 1; n <= 16; n *= 2) b->Arg(n);
}
BENCHMARK(add_del<plain>)->Apply(sizes);
BENCHMARK(add_del<linear>)->Apply(sizes_to<most / 4>);
BENCHMARK(add_del<walk>)->Apply(sizes);
BENCHMARK(add_del<epoch>)->Apply(sizes);
BENCHMARK(add_del<fixed>)->Apply(sizes);
BENCHMARK(add_del<same_heap>)->Apply(sizes);
BENCHMARK(replace_any<plain>)->Apply(sizes);
BENCHMARK(replace_any<epoch>)->Apply(sizes);
BENCHMARK(epoch_ends)->Apply(sizes);
BENCHMARK(shrunk<plain>)->Apply(few);
BENCHMARK(shrunk<walk>)->Apply(few);
BENCHMARK(shrunk<epoch>)->Apply(few);
BENCHMARK(shrunk<same_heap>)->Apply(few);
BENCHMARK(fill_drain<plain>)->Apply(sizes_to<1024>);
BENCHMARK(fill_drain<walk>)->Apply(sizes_to<1024>);
BENCHMARK(fill_drain<epoch>)->Apply(sizes_to<1024>);
BENCHMARK(fill_drain<same_heap>)->Apply(sizes_to<1024>);
BENCHMARK(life<plain>)->Apply(sizes_to<1024>);
BENCHMARK(life<walk>)->Apply(sizes_to<1024>);
BENCHMARK(life<epoch>)->Apply(sizes_to<1024>);
BENCHMARK(life<same_heap>)->Apply(sizes_to<1024>);
BENCHMARK(fill<plain>)->Apply(many);
BENCHMARK(fill<walk>)->Apply(many);
BENCHMARK(fill<epoch>)->Apply(many)->Arg(most);

// Each thread has VMs of its own, with one device in each, and calls them in turn. Threads share
// nothing.
using locked = device_with<epoch_symbols, mutex>;
void vms(benchmark::State& state) {
  const std::size_t count = argument(state, 0);
  const std::size_t n = argument(state, 1);
  std::deque<locked> all;
  bool good = true;
  for (std::size_t i = 0; i < count; ++i) good = all.emplace_back(n, n - 1).good && good;
  std::size_t next = 0;
  for (auto _ : state) {
    locked& s = all[next++ % count];
    vfio_file* const f = s.all[n - 1];
    good = add(s.device, f) == errc::ok && del(s.device, f) == errc::ok && good;
  }
  if (!good) state.SkipWithError("an ADD or DEL failed");
}
BENCHMARK(vms)
    ->ArgNames({"vms", "files"})
    ->ArgsProduct({{1, 16, 256}, {1, 16, 1024}})
    ->Threads(1)
    ->Threads(2)
    ->UseRealTime();

// All threads call ADD and DEL on one device, each with a file of its own.
constexpr std::size_t shared_files = 256;
template <class Device>
Device& one_device() {
  static Device shared(shared_files + 16, shared_files);
  return shared;
}
void contended(benchmark::State& state) {
  auto& s = one_device<locked>();
  vfio_file* const f = s.all[shared_files + static_cast<std::size_t>(state.thread_index())];
  bool good = s.good;
  for (auto _ : state) good = add(s.device, f) == errc::ok && del(s.device, f) == errc::ok && good;
  if (!good) state.SkipWithError("an ADD or DEL failed");
}
BENCHMARK(contended)->Threads(1)->Threads(2)->Threads(4)->UseRealTime();

// The times that a thread has waited for a lock.
class waits {
 public:
  void add(clock::duration d) noexcept {
    longest_ = std::max(longest_, d);
    ++count_;
    ++by_power_[std::bit_width(static_cast<std::uint64_t>(d.count()))];
  }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] double longest() const noexcept { return nanoseconds(longest_); }
  // Returns the smallest power of two, in nanoseconds, that 99 of 100 waits did not exceed.
  [[nodiscard]] double most() const noexcept {
    std::uint64_t shorter = 0;
    std::size_t power = 0;
    while (shorter * 100 < count_ * 99) shorter += by_power_[power++];
    return power == 0 ? 0 : static_cast<double>(std::uint64_t{1} << (power - 1));
  }

 private:
  clock::duration longest_{};
  std::uint64_t count_ = 0;
  std::array<std::uint64_t, 65> by_power_{};
};
static_assert(std::is_same_v<clock::period, std::nano>);

// A mutex that records how long its thread waits.
class waiting_mutex {
 public:
  static inline thread_local waits waited;
  void lock() noexcept {
    if (mutex_.try_lock()) return;
    const auto began = clock::now();
    mutex_.lock();
    waited.add(clock::now() - began);
  }
  void unlock() noexcept { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

// The time that a thread needs for a loop: elapsed time and CPU time, in nanoseconds.
class stopwatch {
 public:
  struct times {
    double elapsed = 0;
    double cpu = 0;
  };
  // The time of one round, if the loop has this number of rounds.
  [[nodiscard]] times split(std::uint64_t rounds) const noexcept {
    const auto n = static_cast<double>(rounds);
    return {nanoseconds(clock::now() - began_) / n, (cpu() - cpu_) / n};
  }

 private:
  static double cpu() noexcept {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
  }
  clock::time_point began_ = clock::now();
  double cpu_ = cpu();
};

// A thread that only reads, until it is told to stop.
class reader {
 public:
  template <class Device, class Observe>
  reader(const Device& device, Observe observe)
      : thread_([this, &device, observe] {
          const stopwatch watch;
          std::uint64_t reads = 0;
          do {
            for (int i = 0; i < 16; ++i) observe(device);
            reads += 16;
            started_ = true;
          } while (!stop_);
          each_ = watch.split(reads);
        }) {
    while (!started_) std::this_thread::yield();
  }
  [[nodiscard]] stopwatch::times stop() {
    stop_ = true;
    thread_.join();
    return each_;
  }

 private:
  std::atomic<bool> started_ = false, stop_ = false;
  stopwatch::times each_;
  std::thread thread_;
};

// One thread reads, alone or until another thread has done its ADDs and DELs. Each thread has
// counters of its own. The elapsed time includes the time in which other programs run; the CPU time
// excludes waiting.
template <class Observe>
void observed(benchmark::State& state, Observe observe) {
  auto& s = one_device<device_with<epoch_symbols, waiting_mutex>>();
  bool good = s.good;
  stopwatch::times read;
  if (state.range(0) == 0) {
    const stopwatch watch;
    for (auto _ : state) observe(s.device);
    read = watch.split(rounds(state));
  } else {
    vfio_file* const f = s.all[shared_files];
    waiting_mutex::waited = {};
    reader beside(s.device, observe);
    const stopwatch watch;
    for (auto _ : state)
      good = add(s.device, f) == errc::ok && del(s.device, f) == errc::ok && good;
    const stopwatch::times write = watch.split(rounds(state));
    read = beside.stop();
    const waits& w = waiting_mutex::waited;
    state.counters["write"] = write.elapsed;
    state.counters["write_cpu"] = write.cpu;
    state.counters["waits_percent"] =
        100.0 * static_cast<double>(w.count()) / static_cast<double>(rounds(state));
    state.counters["wait_99"] = w.most();
    state.counters["wait_longest"] = w.longest();
  }
  state.counters["read"] = read.elapsed;
  state.counters["read_cpu"] = read.cpu;
  if (!good) state.SkipWithError("an ADD or DEL failed");
}
void with_writers(benchmark::internal::Benchmark* b) {
  b->ArgName("writers")->Arg(0)->Arg(1)->UseRealTime();
}
BENCHMARK_CAPTURE(observed, nothing, [](const auto&) { benchmark::ClobberMemory(); })
    -> Apply(with_writers);
BENCHMARK_CAPTURE(observed, size, [](const auto& d) { benchmark::DoNotOptimize(d.size()); })
    -> Apply(with_writers);
BENCHMARK_CAPTURE(observed, noncoherent, [](const auto& d) {
  benchmark::DoNotOptimize(d.noncoherent());
}) -> Apply(with_writers);
BENCHMARK_CAPTURE(observed, snapshot, [](const auto& d) {
  vfio_file* copy[shared_files + 1];
  benchmark::DoNotOptimize(d.snapshot(copy, shared_files + 1));
  benchmark::DoNotOptimize(copy);
  benchmark::ClobberMemory();
}) -> Apply(with_writers);
BENCHMARK_CAPTURE(observed, for_each, [](const auto& d) {
  d.for_each([](vfio_file* f) { benchmark::DoNotOptimize(f); });
}) -> Apply(with_writers);

}  // namespace
}  // namespace bench

// Exit status 1: no benchmark has this name, or an argument is unknown.
int main(int argc, char** argv) {
  // A mutex is cheaper in a process that never had a second thread. This thread prevents that.
  std::thread([] {}).join();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  return benchmark::RunSpecifiedBenchmarks() == 0 ? 1 : 0;
}
