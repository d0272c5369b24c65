// A stand-in for CUDA, with which a CPU build of torch computes on fake CUDA tensors (FakeTensorMode), autograd
// included: eight devices that do nothing, with streams and events, and pinned memory that is ordinary memory,
// never freed, so that its addresses stay its own.
// It must be loaded before Python imports torch, which asks for the hooks once.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/FakeGuardImpl.h>
#include <torch/csrc/distributed/c10d/reducer_timer.hpp>

#include <cstdlib>
#include <mutex>
#include <unordered_set>

namespace {

using c10::DeviceIndex;
using Devices = c10::impl::FakeGuardImpl<c10::DeviceType::CUDA>;

struct PinnedMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    std::scoped_lock lock(mutex);
    known.insert(data);
    return {data, data, &c10::detail::deleteNothing, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &c10::detail::deleteNothing; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
  bool holds(const void* data) {
    std::scoped_lock lock(mutex);
    return known.contains(data);
  }
  std::mutex mutex;
  std::unordered_set<const void*> known;
};

PinnedMemory& pinned() {
  static PinnedMemory memory;
  return memory;
}

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return c10::impl::kFakeGuardImplMaxDevices; }
  int getNumGPUs() const override { return c10::impl::kFakeGuardImplMaxDevices; }
  DeviceIndex current_device() const override { return Devices::getDeviceIndex(); }
  DeviceIndex getCurrentDevice() const override { return Devices::getDeviceIndex(); }
  bool isPinnedPtr(const void* data) const override { return pinned().holds(data); }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned(); }
  at::Generator getNewGenerator(DeviceIndex = -1) const override {
    return at::make_generator<at::CPUGeneratorImpl>();
  }
  // What decides the layout of a convolution's result.
  bool hasCuDNN() const override { return true; }
  bool compiledWithCuDNN() const override { return true; }
  bool supportsDilatedConvolutionWithCuDNN() const override { return true; }
  long versionCuDNN() const override { return 90000; }
  long versionRuntimeCuDNN() const override { return 90000; }
};

// DistributedDataParallel asks for one.
struct NoTimer final : c10d::Timer {
  explicit NoTimer(c10::Device) {}
  std::optional<int64_t> measureDifference(Event, Event) override { return std::nullopt; }
};

}  // namespace

namespace c10d {
C10_REGISTER_TYPED_CLASS(TimerRegistry, c10::DeviceType::CUDA, NoTimer)
}
namespace at {
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, Hooks)
}
namespace c10::impl {
C10_REGISTER_GUARD_IMPL(CUDA, FakeGuardImpl<DeviceType::CUDA>)
}
