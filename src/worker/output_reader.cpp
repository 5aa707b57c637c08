#include "worker/output_reader.hpp"

#include "base/text.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace hal::worker {

namespace {

constexpr auto read_deadline = std::chrono::seconds(10);

}  // namespace

OutputReader::OutputReader(event::Loop& loop, UniqueFd fd, std::size_t max_bytes, Done<std::string> done)
    : fd_(std::move(fd)),
      max_bytes_(max_bytes),
      done_(std::move(done)),
      deadline_(loop, "output deadline",
                [this] {
                  finish(Error{Errc::timed_out, "the program in the worker did not end its output"});
                }),
      source_(loop, fd_.get(), EPOLLIN, "output", [this](std::uint32_t) { read(); }) {
  deadline_.arm(read_deadline);
}

void OutputReader::read() {
  std::array<char, 16 * 1024> buffer;
  const ssize_t bytes = ::read(fd_.get(), buffer.data(), buffer.size());
  if (bytes < 0) {
    if (errno != EAGAIN && errno != EINTR) {
      finish(errno_error("read the program's output"));
    }
    return;
  }
  text_.append(buffer.data(), static_cast<std::size_t>(bytes));
  if (bytes == 0 || text_.size() > max_bytes_) {
    text_.resize(std::min(text_.size(), max_bytes_));
    finish(text::valid_utf8(text_));
  }
}

void OutputReader::finish(Result<std::string> result) {
  source_.set_events(0);
  deadline_.disarm();
  const auto done = std::exchange(done_, nullptr);
  if (done) {
    done(std::move(result));  // may destroy this
  }
}

}  // namespace hal::worker
