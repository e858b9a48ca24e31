// SPDX-License-Identifier: BSL-1.0
#include "comparison.hpp"

#include "conformance/support/shrink.hpp"

#include <kvm_vfio/uapi/kvm.hpp>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

namespace conformance {

namespace {

namespace kt = kvm_vfio::testing;
using kt::call;

/// Which pointer of the kernel's is which name of the model's: a bijection that grows with what is
/// seen and forgets what is gone, because the kernel uses its memory again.
template <class Id>
class correspondence {
 public:
  bool matches(std::uint64_t pointer, Id id) {
    if (pointer == 0 || id.number == 0) return (pointer == 0) == (id.number == 0);
    const auto seen = ids_.find(pointer);
    if (seen != ids_.end()) return seen->second == id.number;
    for (const auto& [other, number] : ids_)
      if (number == id.number) return false;
    ids_[pointer] = id.number;
    return true;
  }
  template <class IsLive>
  void forget(IsLive is_live) {
    std::erase_if(ids_, [&](const auto& pair) { return !is_live(Id{pair.second}); });
  }

 private:
  std::map<std::uint64_t, int> ids_;
};

class pointers {
 public:
  /// Whether the kernel's call is the model's.
  bool matches(const kernel_call& k, const kt::event& m) {
    if (k.what != m.what) return false;
    if (k.what == call::lock || k.what == call::unlock) return true;
    return k.value == m.value && files_.matches(k.file, m.file) && vms_.matches(k.vm, m.vm) &&
           groups_.matches(k.group, m.group);
  }
  void forget(observed_world& model) {
    files_.forget([&](kt::file_id f) { return model.is_live(f); });
    vms_.forget([&](kt::vm_id v) { return model.is_live(v); });
  }

 private:
  correspondence<kt::file_id> files_;
  correspondence<kt::vm_id> vms_;
  correspondence<kt::group_id> groups_;
};

template <class Calls>
std::string join(const Calls& calls) {
  std::string text;
  for (const auto& c : calls) text += (text.empty() ? "" : ", ") + to_string(c);
  return text.empty() ? "nothing" : text;
}

// The model's calls that this kernel can show, and how many different warnings there were.
call_list visible(const setting& s, const call_list& all, int& warnings) {
  call_list chosen;
  std::set<int> different;
  for (const kt::event& e : all) {
    if (e.what == call::warn) different.insert(e.value);
    else if (s.noncoherent_calls ||
             (e.what != call::register_noncoherent && e.what != call::unregister_noncoherent))
      chosen.push_back(e);
  }
  warnings = static_cast<int>(different.size());
  return chosen;
}

bool is_reference(const kernel_call& c) { return c.what == call::fget || c.what == call::fput; }

// What an ADD, a DEL or attribute 3 does to references. Other steps, and children at their end, do
// more to files than kvm-vfio does.
std::string compare_references(const operation& o, pointers& known, observed_world& model,
                               const std::vector<kernel_call>& kernel, tally& t) {
  if (o.what != verb::set_attr || o.in_child) return {};
  const call_list expected = model.references(o.attr == kvm_vfio::uapi::dev_vfio_file_add);
  t.references += static_cast<long>(expected.size());
  bool same = kernel.size() == expected.size();
  for (std::size_t i = 0; same && i < kernel.size(); ++i)
    same = known.matches(kernel[i], expected[i]);
  if (same) return {};
  return "references\n    kernel: " + join(kernel) + "\n    model:  " + join(expected);
}

std::string compare_calls(const setting& s, const operation& o, pointers& known,
                          observed_world& model, tally& t) {
  std::vector<kernel_call> kernel = s.trace->take();
  std::vector<kernel_call> references;
  std::copy_if(kernel.begin(), kernel.end(), std::back_inserter(references), is_reference);
  std::erase_if(kernel, is_reference);
  int warnings = 0;
  const call_list expected = visible(s, model.calls(s.trace->sees_locks()), warnings);
  bool same = kernel.size() == expected.size();
  for (std::size_t i = 0; same && i < kernel.size(); ++i)
    same = known.matches(kernel[i], expected[i]);
  t.calls += static_cast<long>(expected.size());
  if (!same) return "calls\n    kernel: " + join(kernel) + "\n    model:  " + join(expected);
  if (s.trace->sees_references()) {
    if (const std::string what = compare_references(o, known, model, references, t); !what.empty())
      return what;
  }
  const int printed = s.trace->take_warnings();
  if (s.has.spapr && printed != warnings)
    return "warnings: kernel " + std::to_string(printed) + ", model " + std::to_string(warnings);
  return {};
}

}  // namespace

std::optional<mismatch> compare(const setting& s, const std::vector<operation>& steps, tally& t,
                                std::vector<std::string>* log) {
  const auto model = make_model(s.profile, s.has, s.facts);
  const auto kernel = s.kernel ? make_kernel(*s.kernel) : nullptr;
  pointers known;
  if (s.trace) {
    s.trace->take();
    s.trace->take_warnings();
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const outcome kernels = kernel ? kernel->run(steps[i]) : outcome{};
    const outcome models = model->run(steps[i]);
    if (models.done || kernels.done) ++t.steps;
    if (log)
      log->push_back(to_string(steps[i]) + ": " + to_string(models) + " [" +
                     join(model->calls(false)) + "]");
    if (kernel && kernels != models)
      return mismatch{i, "answer: kernel " + to_string(kernels) + ", model " + to_string(models)};
    if (kernel && s.trace)
      if (const std::string what = compare_calls(s, steps[i], known, *model, t); !what.empty())
        return mismatch{i, what};
    if (const std::string what = model->unbalanced(); !what.empty())
      return mismatch{i, "the model's books: " + what};
    known.forget(*model);
  }
  return std::nullopt;
}

std::vector<operation> shrink(const setting& s, std::vector<operation> steps, std::size_t failing) {
  return shrink(std::move(steps), failing, [&s](const std::vector<operation>& candidate) {
    tally unused;
    const auto found = compare(s, candidate, unused);
    return found ? std::optional(found->step) : std::nullopt;
  });
}

}  // namespace conformance
