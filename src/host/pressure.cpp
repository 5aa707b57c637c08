#include "host/pressure.hpp"

#include "base/log.hpp"
#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace hal::host {

namespace {

/** Microseconds of waiting within microseconds of time; windows of 2 s need no capability on newer kernels. */
constexpr const char some_words[] = "some 200000 2000000";
constexpr const char full_words[] = "full 200000 2000000";

}  // namespace

/** An open file whose descriptor becomes ready when its condition holds, at most once a window. */
struct PressureWatch::Trigger {
  UniqueFd fd;
  std::unique_ptr<event::Io> source;
};

PressureWatch::PressureWatch(event::Loop& loop, const std::vector<std::string>& files, Callback callback)
    : loop_(loop), callback_(std::move(callback)), hold_(loop, "memory pressure", [this] { fall(); }) {
  for (const auto& file : files) {
    add(file, some_words, worker::Pressure::some);
    add(file, full_words, worker::Pressure::full);
  }
}

PressureWatch::~PressureWatch() = default;

std::vector<std::string> PressureWatch::files() {
  std::vector<std::string> files = {"/proc/pressure/memory"};
  if (const char* slice = "/sys/fs/cgroup/hal9000.slice/memory.pressure"; ::access(slice, W_OK) == 0) {
    files.emplace_back(slice);
  }
  return files;
}

void PressureWatch::add(const std::string& file, const char* words, worker::Pressure level) {
  auto trigger = std::make_unique<Trigger>();
  trigger->fd = UniqueFd(::open(file.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  const auto bytes = std::strlen(words) + 1;
  if (!trigger->fd || ::write(trigger->fd.get(), words, bytes) != static_cast<ssize_t>(bytes)) {
    log::debug({}, "memory pressure is not watched: {}", errno_error(file).message);
    return;
  }
  Trigger* const self = trigger.get();
  trigger->source = std::make_unique<event::Io>(loop_, trigger->fd.get(), EPOLLPRI, "memory pressure",
                                                [this, self, level](std::uint32_t events) {
                                                  if ((events & EPOLLERR) != 0) {  // its control group is gone
                                                    self->source->set_events(0);
                                                    return;
                                                  }
                                                  note(level);
                                                });
  triggers_.push_back(std::move(trigger));
}

void PressureWatch::note(worker::Pressure level) {
  const auto now = loop_.now();
  if (level == worker::Pressure::full) {
    last_full_ = now;
  } else if (level_ == worker::Pressure::full && now - last_full_ < hold_time) {
    hold_.arm(hold_time);
    return;  // full pressure is some pressure too
  }
  level_ = level;
  hold_.arm(hold_time);
  callback_(level_);
}

void PressureWatch::fall() {
  level_ = worker::Pressure::none;
  callback_(level_);
}

}  // namespace hal::host
