#include "init/session.hpp"

#include "init/datagram.hpp"
#include "init/tmux_environment.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

namespace hal::init {

namespace {

/** tmux on a machine under load; it normally takes some 10 ms. */
constexpr std::chrono::seconds start_deadline{10};
/** tmux's end after a failed start. */
constexpr std::chrono::seconds leave_limit{1};
/** A pane, a log, and somebody who connected in error. */
constexpr std::size_t max_peers = 4;

std::string socket_name(const std::string& folder) {
  return folder + "/main.sock";
}

std::string environment_name(const std::string& folder) {
  return folder + "/environment";
}

std::string make_mark() {
  unsigned char random[16];
  if (::getrandom(random, sizeof random, 0) != sizeof random) {
    throw_system_error("getrandom");
  }
  std::string mark = "\033]9000;";
  for (const unsigned char byte : random) {
    mark += "0123456789abcdef"[byte >> 4];
    mark += "0123456789abcdef"[byte & 15];
  }
  return mark + "\033\\";
}

/** For a shell command inside a tmux command: tmux expands # and %, the shell gets it in single quotes. */
std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '#' || c == '%') {
      out += c;
    }
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return out + "'";
}

/** What tmux and the windows a user opens in it get: main's environment, and where our tmux keeps its socket. */
std::vector<std::string> tmux_environment(const std::vector<std::string>& env) {
  std::vector<std::string> out = env;
  if (const char* folder = ::getenv("TMUX_TMPDIR")) {
    out.push_back(std::string("TMUX_TMPDIR=") + folder);
  }
  return out;
}

}  // namespace

Session::Session(Epoll& epoll, SessionSettings settings, SessionListener& listener)
    : epoll_(epoll),
      settings_(std::move(settings)),
      listener_(listener),
      deadline_(epoll, [this] { deadline_passed(); }) {}

Session::~Session() {
  reset();
}

void Session::prepare(Request request) {
  if (state_ == State::prepared) {
    listener_.prepared(request.id);
    return;
  }
  if (state_ == State::preparing) {  // asked for by a daemon that is no more
    request_.id = request.id;
    return;
  }
  request_ = std::move(request);
  state_ = State::preparing;
  launch_session();
}

void Session::start(Request request) {
  const bool launched = state_ != State::idle;
  request_ = std::move(request);
  state_ = State::starting;
  if (!launched) {
    launch_session();
    return;
  }
  deadline_.start(start_deadline);
  ready();
}

void Session::launch_session() {
  try {
    mark_ = make_mark();
    open_socket();
  } catch (const std::system_error& error) {
    fail(error.code().value());
    return;
  }
  tmux_env_ = request_.env;
  deadline_.start(start_deadline);
  launch_tmux();
}

void Session::open_socket() {
  folder_ = settings_.runtime + "/hal9000-XXXXXX";
  if (::mkdtemp(folder_.data()) == nullptr) {
    folder_.clear();
    throw_system_error("mkdtemp");
  }
  socket_ = listen_at(socket_name(folder_));
  accept_watch_ = std::make_unique<Watch>(epoll_, socket_.get(), EPOLLIN, [this](std::uint32_t) { accept(); });
}

void Session::launch_tmux() {
  const bool configured = ::access(settings_.tmux_config.c_str(), R_OK) == 0;
  const auto size = [](std::uint16_t wanted, int other) { return std::to_string(wanted != 0 ? wanted : other); };
  const std::string path = socket_name(folder_);
  const Command tmux{"/",
                     {"tmux",
                      "-f",
                      configured ? settings_.tmux_config : "/dev/null",
                      "-L",
                      "main",
                      "new-session",
                      "-d",
                      "-s",
                      "main",
                      "-x",
                      size(request_.columns, 80),
                      "-y",
                      size(request_.rows, 24),
                      "-c",
                      request_.cwd,
                      "--",
                      settings_.program,
                      "--pane",
                      path,
                      ";",
                      "pipe-pane",
                      "-t",
                      "main",
                      "exec " + shell_word(settings_.program) + " --log " + shell_word(path)},
                     tmux_environment(request_.env)};
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  client_ = launch(tmux, {null.get(), STDERR_FILENO, STDERR_FILENO, false, true});
  if (!client_) {
    fail(errno);
    return;
  }
  client_watch_ = std::make_unique<Watch>(epoll_, client_->outcome.get(), EPOLLIN, [this](std::uint32_t) {
    const auto error = outcome(*client_);
    if (error) {
      client_watch_.reset();
      if (*error != 0) {
        fail(*error);
      }
    }
  });
}

void Session::reaped(pid_t pid, int status) {
  if (pid == teller_) {
    teller_ = -1;
    ::unlink(environment_name(folder_).c_str());
    return;
  }
  if (state_ == State::failing && pid == server_) {
    failed();
  }
  if (!client_ || client_->pid != pid) {
    return;
  }
  const auto error = outcome(*client_);
  client_watch_.reset();
  client_.reset();
  if (status != 0) {
    fail(error && *error != 0 ? *error : EIO);
  }
}

void Session::accept() {
  UniqueFd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (!socket || peers_.size() >= max_peers ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0 || credentials.uid != ::getuid()) {
    return;
  }
  auto peer = std::make_unique<Peer>();
  peer->pid = credentials.pid;
  peer->socket = std::move(socket);
  const int fd = peer->socket.get();
  peer->watch = std::make_unique<Watch>(epoll_, fd, EPOLLIN, [this, fd](std::uint32_t) { peer_ready(fd); });
  peers_.push_back(std::move(peer));
}

Session::Peer* Session::find(Role role) {
  const auto found =
      std::find_if(peers_.begin(), peers_.end(), [role](const auto& peer) { return peer->role == role; });
  return found == peers_.end() ? nullptr : found->get();
}

void Session::peer_ready(int socket) {
  const auto found =
      std::find_if(peers_.begin(), peers_.end(), [socket](const auto& peer) { return peer->socket.get() == socket; });
  Peer& peer = **found;
  const auto datagram = receive(socket, record_bytes);
  if (datagram.status == Datagram::Status::empty) {
    return;
  }
  if (datagram.status != Datagram::Status::received) {
    peer_gone(socket);
  } else if (!peer.role) {
    greeted(peer, datagram.bytes);
  } else if (*peer.role == Role::pane) {
    from_pane(datagram.bytes);
  } else {
    drained();
  }
}

void Session::greeted(Peer& peer, const std::string& bytes) {
  Greeting greeting{};
  if (bytes.size() == sizeof greeting) {
    std::memcpy(&greeting, bytes.data(), sizeof greeting);
  }
  const bool known = greeting.role == Role::pane || greeting.role == Role::log;
  const bool awaited = state_ == State::preparing || state_ == State::starting;
  if (!known || find(greeting.role) != nullptr || !awaited) {
    peer_gone(peer.socket.get());
    return;
  }
  peer.role = greeting.role;
  server_ = greeting.server;
  ready();
}

/** Goes on when both helpers are there. */
void Session::ready() {
  if (find(Role::pane) == nullptr || find(Role::log) == nullptr) {
    return;
  }
  if (state_ == State::preparing) {
    deadline_.stop();
    state_ = State::prepared;
    listener_.prepared(request_.id);
  } else {
    begin();
  }
}

void Session::begin() {
  const Peer& pane = *find(Role::pane);
  const auto request = encode(request_);
  pane_ = pane.pid;
  if (!request || !send(find(Role::log)->socket.get(), mark_, STDOUT_FILENO) || !send(pane.socket.get(), mark_) ||
      !send(pane.socket.get(), *request)) {
    return fail(EIO);
  }
  if (request_.env != tmux_env_) {
    tell_environment();
  }
}

/**
 * What windows opened later get. By a file in our own folder: arguments can be read by others. Nobody waits for it; if
 * it fails, those windows lack what came with main.
 */
void Session::tell_environment() {
  const auto path = environment_name(folder_);
  const auto commands = environment_commands(tmux_env_, request_.env);
  {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file || ::write(file.get(), commands.data(), commands.size()) != static_cast<ssize_t>(commands.size())) {
      return;
    }
  }
  const Command tmux{"/", {"tmux", "-L", "main", "source-file", path}, tmux_environment(tmux_env_)};
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (const auto started = launch(tmux, {null.get(), STDERR_FILENO, STDERR_FILENO, false, true})) {
    teller_ = started->pid;
  }
}

void Session::from_pane(const std::string& bytes) {
  const auto record = decode_record(bytes);
  if (!record) {
    return;
  }
  if (state_ == State::starting && record->kind == RecordKind::started) {
    deadline_.stop();
    state_ = State::running;
    listener_.main_started(request_.id, record->pid);
  } else if (state_ == State::starting && record->kind == RecordKind::failed) {
    fail(record->error);
  } else if (state_ == State::running && record->kind == RecordKind::exited) {
    end(record->status);
  }
}

void Session::peer_gone(int socket) {
  const auto found =
      std::find_if(peers_.begin(), peers_.end(), [socket](const auto& peer) { return peer->socket.get() == socket; });
  const auto role = (*found)->role;
  peers_.erase(found);
  if (!role) {
    return;
  }
  if (state_ == State::preparing || state_ == State::prepared || state_ == State::starting) {
    fail(EIO);
  } else if (*role == Role::pane && state_ == State::running) {
    end(SIGKILL);  // as waitpid would say it: whoever ended the helper unheard killed the command
  } else if (*role == Role::log && state_ == State::ended) {
    drained();
  }
}

void Session::signal(int number) const {
  if (state_ == State::running && pane_ > 1) {
    ::kill(-pane_, number);
  }
}

void Session::deadline_passed() {
  if (state_ == State::failing) {
    failed();
  } else {
    fail(ETIMEDOUT);
  }
}

void Session::fail(int error) {
  if (state_ != State::preparing && state_ != State::prepared && state_ != State::starting) {
    return;
  }
  request_.id = state_ == State::prepared ? ExecId{} : request_.id;  // it has its answer
  reset();
  state_ = State::failing;
  error_ = error;
  if (server_ == 0) {
    failed();
  } else {
    // A next attempt must not meet a tmux that is about to go.
    deadline_.start(leave_limit);
  }
}

void Session::failed() {
  deadline_.stop();
  state_ = State::idle;
  server_ = 0;
  if (request_.id.value != 0) {
    listener_.main_failed(request_.id, error_);
  }
}

void Session::end(int status) {
  state_ = State::ended;
  status_ = status;
  listener_.main_ended(request_.id, status);
  if (find(Role::log) == nullptr) {
    drained();
  }
}

void Session::drained() {
  if (state_ == State::ended && !drained_) {
    drained_ = true;
    listener_.main_drained();
  }
}

void Session::close() {
  reset();
}

void Session::reset() {
  deadline_.stop();
  client_watch_.reset();
  client_.reset();
  peers_.clear();
  accept_watch_.reset();
  socket_.reset();
  if (!folder_.empty()) {
    ::unlink(socket_name(folder_).c_str());
    ::unlink(environment_name(folder_).c_str());
    ::rmdir(folder_.c_str());
    folder_.clear();
  }
}

}  // namespace hal::init
