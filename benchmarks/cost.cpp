// SPDX-License-Identifier: BSL-1.0
// The time that ADD, DEL and filling take, by the number of tracked files and by threads.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "subjects.hpp"

namespace bench {
namespace {

std::size_t argument(const benchmark::State& state, int which = 0) {
  return static_cast<std::size_t>(state.range(which));
}

// ADD and DEL of one file more, when there are n with it.
template <class Subject>
void add_del(benchmark::State& state) {
  const std::size_t n = argument(state);
  auto s = std::make_unique<Subject>(n, n - 1);
  vfio_file* const f = s->all[n - 1];
  bool good = s->good;
  for (auto _ : state) good = s->device.add(f) == errc::ok && s->device.del(f) == errc::ok && good;
  if (!good) state.SkipWithError("an ADD or DEL failed");
  state.SetComplexityN(state.range(0));
}

// DEL and ADD of a file picked at random among n: wherever it is in the list and in the caches.
template <class Subject>
void replace_any(benchmark::State& state) {
  const std::size_t n = argument(state);
  auto s = std::make_unique<Subject>(n, n);
  bool good = s->good;
  std::uint32_t random = 1;
  for (auto _ : state) {
    random = random * 1664525 + 1013904223;
    vfio_file* const f = s->all[(random >> 8) % n];
    good = s->device.del(f) == errc::ok && s->device.add(f) == errc::ok && good;
  }
  if (!good) state.SkipWithError("an ADD or DEL failed");
  state.SetComplexityN(state.range(0));
}

// From the empty device to n files.
template <class Subject>
void fill(benchmark::State& state) {
  const std::size_t n = argument(state);
  bool good = true;
  for (auto _ : state) {
    state.PauseTiming();
    auto s = std::make_unique<Subject>(n, 0);
    state.ResumeTiming();
    for (std::size_t i = 0; i < n; ++i) good = s->device.add(s->all[i]) == errc::ok && good;
    state.PauseTiming();
    s.reset();
    state.ResumeTiming();
  }
  if (!good) state.SkipWithError("an ADD failed");
  state.SetComplexityN(state.range(0));
}

// An epoch that ends before each ADD: the worst case, all files are asked.
void epoch_ends(benchmark::State& state) {
  const std::size_t n = argument(state);
  auto s = std::make_unique<epoch>(n, n - 1);
  vfio_file* const f = s->all[n - 1];
  bool good = s->good;
  for (auto _ : state) {
    ++s->vfio.epoch;
    good = s->device.add(f) == errc::ok && s->device.del(f) == errc::ok && good;
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
void few_sizes(benchmark::internal::Benchmark* b) {
  for (std::int64_t n = 16; n <= most / 4; n *= 4) b->Arg(n);
  b->Unit(benchmark::kMicrosecond)->Complexity();
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
BENCHMARK(fill<plain>)->Apply(few_sizes);
BENCHMARK(fill<walk>)->Apply(few_sizes);
BENCHMARK(fill<epoch>)->Apply(few_sizes)->Arg(most);

// Each thread has VMs of its own, one device in each, and goes round them. Nothing is shared.
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
    good = s.device.add(f) == errc::ok && s.device.del(f) == errc::ok && good;
  }
  if (!good) state.SkipWithError("an ADD or DEL failed");
}
BENCHMARK(vms)
    ->ArgNames({"vms", "files"})
    ->ArgsProduct({{1, 16, 256}, {1, 16, 1024}})
    ->Threads(1)
    ->Threads(2)
    ->UseRealTime();

// All threads on one device. `observers` of them read, the others ADD and DEL.
constexpr std::size_t shared_files = 256;
locked& one_device() {
  static locked shared(shared_files + 16, shared_files);
  return shared;
}
template <class Observe>
void contended(benchmark::State& state, Observe observe) {
  locked& s = one_device();
  const auto thread = static_cast<std::size_t>(state.thread_index());
  vfio_file* const f = s.all[shared_files + thread];
  const bool observes = state.thread_index() < state.range(0);
  bool good = s.good;
  for (auto _ : state) {
    if (observes) observe(s.device);
    else good = s.device.add(f) == errc::ok && s.device.del(f) == errc::ok && good;
  }
  if (!good) state.SkipWithError("an ADD or DEL failed");
}
void on_one_device(benchmark::internal::Benchmark* b) {
  b->ArgName("observers")->Arg(0)->Threads(1)->Threads(2)->Threads(4)->UseRealTime();
}
void with_observer(benchmark::internal::Benchmark* b) {
  b->ArgName("observers")->Arg(1)->Threads(1)->Threads(2)->UseRealTime();
}
BENCHMARK_CAPTURE(contended, add_del, [](auto&) {}) -> Apply(on_one_device);
BENCHMARK_CAPTURE(contended, size, [](auto& d) { benchmark::DoNotOptimize(d.size()); })
    -> Apply(with_observer);
BENCHMARK_CAPTURE(contended, noncoherent, [](auto& d) {
  benchmark::DoNotOptimize(d.noncoherent());
}) -> Apply(with_observer);
BENCHMARK_CAPTURE(contended, snapshot, [](auto& d) {
  vfio_file* copy[shared_files];
  benchmark::DoNotOptimize(d.snapshot(copy, shared_files));
  benchmark::DoNotOptimize(copy);
  benchmark::ClobberMemory();
}) -> Apply(with_observer);
BENCHMARK_CAPTURE(contended, for_each, [](auto& d) {
  d.for_each([](vfio_file* f) { benchmark::DoNotOptimize(f); });
}) -> Apply(with_observer);

}  // namespace
}  // namespace bench

BENCHMARK_MAIN();
