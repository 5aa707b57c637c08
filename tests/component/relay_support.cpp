#include "component/relay_support.hpp"

#include "base/error.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace hal::test {

namespace {

using Clock = std::chrono::steady_clock;

bool ready_by(int fd, short events, Clock::time_point end) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd entry{fd, events, 0};
    const int count = ::poll(&entry, 1, static_cast<int>(std::max<long>(left, 0)));
    if (count >= 0 || errno != EINTR) {
      return count > 0;
    }
  }
}

std::string relay_program() {
  const char* program = ::getenv("HAL9000_RELAY");
  if (program == nullptr || ::access(program, X_OK) != 0) {
    throw std::runtime_error("HAL9000_RELAY must name the program; run this through meson test");
  }
  return program;
}

/** The child's part. noexcept: a child that unwound into the test would run the tests on, and fork again. */
[[noreturn]] void become(std::vector<std::string> words, int in, int out, int err) noexcept {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  std::vector<char*> argv;
  for (auto& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  ::_exit(126);
}

}  // namespace

bool Stream::fill(Clock::time_point end) {
  char bytes[65536];
  if (!fd_ || !ready_by(fd_.get(), POLLIN, end)) {
    return false;
  }
  const auto count = ::read(fd_.get(), bytes, sizeof bytes);
  buffer_.append(bytes, static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  return count > 0;
}

std::string Stream::line(std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + scaled(deadline);
  std::size_t searched = 0;
  auto newline = buffer_.find('\n');
  while (newline == std::string::npos && fill(end)) {
    newline = buffer_.find('\n', searched);
    searched = buffer_.size();
  }
  const auto count = newline == std::string::npos ? buffer_.size() : newline + 1;
  std::string line = buffer_.substr(0, count);
  buffer_.erase(0, count);
  return line;
}

bool Stream::ended(std::chrono::milliseconds deadline) {
  return !fill(Clock::now() + scaled(deadline)) && buffer_.empty() && ready_by(fd_.get(), POLLIN, Clock::now());
}

std::string Stream::rest(std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + scaled(deadline);
  while (fill(end)) {
  }
  return std::exchange(buffer_, {});
}

bool Stream::write(std::string_view bytes) {
  const auto end = Clock::now() + scaled(10s);
  while (!bytes.empty()) {
    if (!ready_by(fd_.get(), POLLOUT, end)) {
      return false;
    }
    // Pipes are blocking: what poll promises is room for PIPE_BUF bytes.
    const auto count = ::write(fd_.get(), bytes.data(), std::min<std::size_t>(bytes.size(), 4096));
    if (count < 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void Stream::half_close() {
  ::shutdown(fd_.get(), SHUT_WR);
}

RelayProcess::RelayProcess(const std::vector<std::string>& arguments, const std::string& stderr_path) {
  ::signal(SIGPIPE, SIG_IGN);
  Pipe to = make_pipe();
  Pipe from = make_pipe();
  const UniqueFd err(::open(stderr_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  std::vector<std::string> words{relay_program()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  pid_ = ::fork();
  if (pid_ < 0) {
    throw_errno("fork");
  }
  if (pid_ == 0) {
    become(std::move(words), to.read.get(), from.write.get(), err.get());
  }
  in = Stream(std::move(to.write));
  out = Stream(std::move(from.read));
}

RelayProcess::~RelayProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void RelayProcess::signal(int number) const {
  ::kill(pid_, number);
}

std::optional<int> RelayProcess::wait(std::chrono::milliseconds deadline) {
  if (pid_ <= 0 || !wait_gone(pid_, deadline)) {
    return std::nullopt;
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return status;
}

Gateway::Gateway(std::string path) : path_(std::move(path)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
  ::unlink(path_.c_str());
  socket_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
      ::listen(socket_.get(), 8) < 0) {
    throw_errno(path_);
  }
}

Gateway::~Gateway() {
  ::unlink(path_.c_str());
}

Stream Gateway::accept(std::chrono::milliseconds deadline) {
  if (!ready_by(socket_.get(), POLLIN, Clock::now() + scaled(deadline))) {
    return {};
  }
  return Stream(UniqueFd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
}

Stream Gateway::session(std::chrono::milliseconds deadline) {
  Stream stream = accept(deadline);
  if (stream && (stream.line().empty() || !stream.write("{\"hal9000\":1,\"session\":\"s1\"}\n"))) {
    stream.close();
  }
  return stream;
}

}  // namespace hal::test
