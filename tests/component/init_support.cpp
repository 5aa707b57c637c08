#include "component/init_support.hpp"

#include "base/error.hpp"
#include "base/limits.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <stdexcept>

namespace hal::test {

namespace {

using Clock = std::chrono::steady_clock;

/** True when `fd` can be read (or is at its end) before `end`. */
bool readable_by(int fd, Clock::time_point end) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd entry{fd, POLLIN, 0};
    const int count = ::poll(&entry, 1, static_cast<int>(std::max<long>(left, 0)));
    if (count > 0) {
      return true;
    }
    if (count == 0 || errno != EINTR) {
      return false;
    }
  }
}

/** The child's part. noexcept: a child that unwound into the test would run the tests on, and fork again. */
[[noreturn]] void become(const TempDir& folder, std::vector<std::string> words, int log) noexcept {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::setenv("TMUX_TMPDIR", folder.path().c_str(), 1);
  ::unsetenv("TMUX");
  std::vector<char*> argv;
  for (auto& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(126);
}

/** Kills what the process has started, tmux and all in it, which would outlive it. */
void kill_below(pid_t pid) {
  const auto id = std::to_string(pid);
  std::istringstream list(read_file("/proc/" + id + "/task/" + id + "/children"));
  for (pid_t child = 0; list >> child;) {
    kill_below(child);
    ::kill(child, SIGKILL);
  }
}

/** The workers' own, so that it is tested too. */
std::string tmux_config() {
  const char* path = ::getenv("HAL9000_TMUX_CONFIG");
  return path != nullptr ? path : "/nonexistent";
}

}  // namespace

std::string init_program() {
  const char* program = ::getenv("HAL9000_INIT");
  if (program == nullptr || ::access(program, X_OK) != 0) {
    throw std::runtime_error("HAL9000_INIT must name the program; run this through meson test");
  }
  return program;
}

InitProcess::InitProcess(const TempDir& folder, const std::vector<std::string>& wrapper) : log_path_(folder / "log") {
  const UniqueFd log(::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  // A wrapper may give root away: the folder and a copy of the program are then still to be reached.
  const std::string program = folder / "hal9000-init";
  std::filesystem::copy_file(init_program(), program);
  ::chmod(folder.path().c_str(), 0777);
  std::vector<std::string> words = wrapper;
  for (const std::string& word : {program, std::string("--control"), control_path(folder), std::string("--runtime"),
                                  folder.path(), std::string("--tmux-config"), tmux_config()}) {
    words.push_back(word);
  }
  pid_ = ::fork();
  if (pid_ < 0) {
    throw_errno("fork");
  }
  if (pid_ == 0) {
    become(folder, std::move(words), log.get());
  }
}

InitProcess::~InitProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    if (!wait(5s) && pid_ > 0) {
      ::kill(pid_, SIGSTOP);  // so that nothing is started or reaped any more
      kill_below(pid_);
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
}

void InitProcess::signal(int number) const {
  ::kill(pid_, number);
}

std::optional<int> InitProcess::wait(std::chrono::milliseconds deadline) {
  if (pid_ <= 0 || !wait_gone(pid_, deadline)) {
    return std::nullopt;
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return status;
}

std::string InitProcess::log() const {
  return read_file(log_path_);
}

std::optional<Received> InitPeer::next(std::chrono::milliseconds deadline) {
  if (!socket_ || !readable_by(socket_.get(), Clock::now() + scaled(deadline))) {
    return std::nullopt;
  }
  char bytes[init::record_bytes + 1];
  iovec part{bytes, sizeof bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const auto count = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  if (count <= 0) {
    return std::nullopt;
  }
  Received received;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    received.fd = UniqueFd(fd);
  }
  auto record = init::decode_record({bytes, static_cast<std::size_t>(count)});
  if (!record || (fds_with(*record) == 1) != static_cast<bool>(received.fd)) {
    return std::nullopt;
  }
  received.record = *record;
  return received;
}

bool InitPeer::ended(std::chrono::milliseconds deadline) {
  char byte = 0;
  return readable_by(socket_.get(), Clock::now() + scaled(deadline)) && ::recv(socket_.get(), &byte, 1, 0) <= 0;
}

bool InitPeer::send(const init::Request& request, const std::vector<int>& fds) {
  const auto datagram = init::encode(request);
  return datagram && send_bytes(*datagram, fds);
}

bool InitPeer::send_bytes(std::string_view bytes, const std::vector<int>& fds) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
  }
  return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) >= 0;
}

InitListener::InitListener(std::string path) : path_(std::move(path)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
  ::unlink(path_.c_str());
  socket_ = UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
      ::listen(socket_.get(), 8) < 0 || ::chmod(path_.c_str(), 0666) < 0) {
    throw_errno(path_);
  }
}

InitListener::~InitListener() {
  ::unlink(path_.c_str());
}

InitPeer InitListener::accept(std::chrono::milliseconds deadline) {
  if (!readable_by(socket_.get(), Clock::now() + scaled(deadline))) {
    return {};
  }
  return InitPeer(UniqueFd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
}

std::string control_path(const TempDir& folder) {
  return folder / "control.sock";
}

init::Request exec_request(std::uint64_t id, const std::string& script) {
  init::Request request;
  request.kind = init::RequestKind::exec;
  request.id = ExecId{id};
  request.cwd = std::string("/");  // not the literal: GCC 12 warns falsely (-Wrestrict)
  request.argv = {"sh", "-c", script};
  request.env = {"PATH=/usr/bin:/bin", "HAL_TEST=yes"};
  return request;
}

init::Request terminal_request(std::uint64_t id, const std::string& script) {
  auto request = exec_request(id, script);
  request.terminal = true;
  return request;
}

init::Request main_request(std::uint64_t id, const std::string& script) {
  auto request = exec_request(id, script);
  request.kind = init::RequestKind::main;
  return request;
}

init::Request signal_request(std::uint64_t id, int number) {
  init::Request request;
  request.kind = init::RequestKind::signal;
  request.id = ExecId{id};
  request.signal = number;
  return request;
}

std::string read_until(int fd, const std::string& text, std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + scaled(deadline);
  std::string out;
  char buffer[4096];
  while (out.find(text) == std::string::npos && readable_by(fd, end)) {
    const auto count = ::read(fd, buffer, sizeof buffer);
    if (count <= 0) {
      break;
    }
    out.append(buffer, static_cast<std::size_t>(count));
  }
  return out;
}

bool wait_for_file(const std::string& path, const std::function<bool(const std::string&)>& predicate,
                   std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + scaled(deadline);
  const UniqueFd inotify(::inotify_init1(IN_CLOEXEC));
  const auto folder = path.substr(0, path.rfind('/'));
  ::inotify_add_watch(inotify.get(), folder.c_str(), IN_CREATE | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE);
  while (!predicate(read_file(path))) {
    char events[4096];
    if (!readable_by(inotify.get(), end) || ::read(inotify.get(), events, sizeof events) <= 0) {
      return false;
    }
  }
  return true;
}

}  // namespace hal::test
