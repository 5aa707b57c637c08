#include "link/parcel.hpp"

#include "io/listener.hpp"
#include "link/memory_file.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <span>
#include <utility>

namespace hal::link {

namespace {

/** As many as the kernel takes in one message (SCM_MAX_FD). */
constexpr std::size_t most_at_once = 253;
/** A gateway may have no more open. */
constexpr std::size_t most_descriptors = 65536;
constexpr std::size_t control_bytes = CMSG_SPACE(most_at_once * sizeof(int));

/** One message: the text's file alone, or some of the descriptors. */
Result<void> send_some(int socket, std::span<const int> descriptors) {
  char byte = 0;
  iovec vector{&byte, 1};
  alignas(cmsghdr) std::array<char, control_bytes> control{};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  auto* const rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  if (::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    return errno_error("pack descriptors");
  }
  return {};
}

/** Nothing at the end. */
Result<std::vector<UniqueFd>> receive_some(int socket) {
  char byte = 0;
  iovec vector{&byte, 1};
  alignas(cmsghdr) std::array<char, control_bytes> control{};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const auto bytes = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (bytes < 0) {
    return errno_error("unpack descriptors");
  }
  std::vector<UniqueFd> received;
  for (auto* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
      std::vector<int> some((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      std::memcpy(some.data(), CMSG_DATA(part), some.size() * sizeof(int));
      for (const int fd : some) {
        received.emplace_back(fd);
      }
    }
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0 || (bytes > 0 && received.empty())) {
    return Error{Errc::protocol, "some of the packed descriptors are missing"};
  }
  return received;
}

}  // namespace

Result<UniqueFd> pack(std::string_view text, const std::vector<int>& descriptors) {
  if (text.size() > parcel_bytes || descriptors.size() > most_descriptors) {
    return Error{Errc::limit, "too much to be packed"};
  }
  auto file = to_memory_file(text);
  if (!file) {
    return file.error();
  }
  auto pair = io::socket_pair(SOCK_SEQPACKET);
  if (!pair) {
    return pair.error();
  }
  const int first = file->get();
  auto sent = send_some(pair->ours.get(), std::span(&first, 1));
  for (std::span left(descriptors); sent && !left.empty(); left = left.subspan(std::min(most_at_once, left.size()))) {
    sent = send_some(pair->ours.get(), left.first(std::min(most_at_once, left.size())));
  }
  return sent ? Result<UniqueFd>(std::move(pair->theirs)) : sent.error();
}

Result<Parcel> unpack(UniqueFd packed) {
  auto file = receive_some(packed.get());
  if (!file) {
    return file.error();
  }
  if (file->size() != 1) {
    return Error{Errc::protocol, "this is no parcel"};
  }
  auto text = from_memory_file(file->front(), parcel_bytes);
  if (!text) {
    return text.error();
  }
  Parcel parcel{*std::move(text), {}};
  for (;;) {
    auto some = receive_some(packed.get());
    if (!some) {
      return some.error();
    }
    if (some->empty()) {
      return parcel;
    }
    if (parcel.descriptors.size() + some->size() > most_descriptors) {
      return Error{Errc::limit, "a parcel of too many descriptors"};
    }
    parcel.descriptors.insert(parcel.descriptors.end(), std::make_move_iterator(some->begin()),
                              std::make_move_iterator(some->end()));
  }
}

}  // namespace hal::link
