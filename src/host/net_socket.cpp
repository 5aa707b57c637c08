#include "host/net_socket.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include <fmt/format.h>

namespace hal::host {

namespace {

constexpr int backlog = 64;

Result<UniqueFd> tcp_socket(std::uint16_t port, bool listen) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) {
    return errno_error("socket");
  }
  if (!listen) {
    return fd;
  }
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto shown = fmt::format("127.0.0.1:{}", port);
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), backlog) != 0) {
    return errno == EADDRINUSE ? Error{Errc::busy, shown + " is in use there"} : errno_error("listen on " + shown);
  }
  return fd;
}

}  // namespace

Result<UniqueFd> open_network_namespace(pid_t pid) {
  UniqueFd fd(::open(fmt::format("/proc/{}/ns/net", pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return errno == ENOENT || errno == ESRCH ? Error{Errc::unavailable, fmt::format("there is no process {}", pid)}
                                             : errno_error(fmt::format("the network namespace of process {}", pid));
  }
  return fd;
}

Result<std::string> network_name(pid_t pid) {
  struct stat status {};
  if (::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &status) != 0) {
    return errno_error(fmt::format("the network namespace of process {}", pid));
  }
  return fmt::format("{}:{}", status.st_dev, status.st_ino);
}

std::optional<bool> same_network(pid_t one, pid_t other) {
  struct stat first {};
  struct stat second {};
  if (::stat(fmt::format("/proc/{}/ns/net", one).c_str(), &first) != 0 ||
      ::stat(fmt::format("/proc/{}/ns/net", other).c_str(), &second) != 0) {
    return std::nullopt;
  }
  return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

NetSockets::NetSockets(event::Loop& loop) : tasks_(loop) {}

void NetSockets::unconnected(pid_t namespace_of, Done<UniqueFd> done) {
  make(namespace_of, 0, false, std::move(done));
}

void NetSockets::listening(pid_t namespace_of, std::uint16_t port, Done<UniqueFd> done) {
  make(namespace_of, port, true, std::move(done));
}

void NetSockets::make(pid_t namespace_of, std::uint16_t port, bool listen, Done<UniqueFd> done) {
  const auto network = open_network_namespace(namespace_of);
  tasks_.run(
      fmt::format("a socket in the network of process {}", namespace_of),
      [&network, port, listen]() -> Result<process::TaskOutput> {
        if (!network) {
          return network.error();
        }
        if (::setns(network->get(), CLONE_NEWNET) != 0) {
          return errno_error("setns");
        }
        auto socket = tcp_socket(port, listen);
        if (!socket) {
          return socket.error();
        }
        process::TaskOutput output;
        output.fds.push_back(*std::move(socket));
        return output;
      },
      [done = std::move(done)](Result<process::TaskOutput> output) {
        if (!output) {
          done(output.error());
        } else if (output->fds.empty()) {
          done(Error{Errc::internal, "the answer of a child has no socket"});
        } else {
          done(std::move(output->fds.front()));
        }
      },
      {network ? network->get() : -1});
}

}  // namespace hal::host
