#include "init/call_filter.hpp"

#include "init/call_rules.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace hal::init {

namespace {

using Program = std::vector<sock_filter>;

/** Marks a number of the x32 ABI, which has calls of its own. */
constexpr std::uint32_t x32_bit = 0x40000000;

#if defined(__x86_64__)
constexpr std::uint32_t native_arch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t native_arch = AUDIT_ARCH_AARCH64;
#elif defined(__riscv) && __riscv_xlen == 64
constexpr std::uint32_t native_arch = AUDIT_ARCH_RISCV64;
#else
#error "add the architecture's AUDIT_ARCH_ here, and those that its processes can switch to below"
#endif

constexpr std::uint32_t new_namespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
/** Of a socket's type; above are flags. */
constexpr std::uint32_t socket_type_bits = 0xf;

/** Where the lower half of an argument stands; what the rules look at has no upper half. Little-endian machines only.
 */
constexpr std::uint32_t offset_of(unsigned argument) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args) + argument * sizeof(std::uint64_t));
}

constexpr sock_filter load(std::uint32_t offset) {
  return {BPF_LD | BPF_W | BPF_ABS, 0, 0, offset};
}
constexpr sock_filter jump(unsigned how, std::uint32_t value, std::size_t if_true, std::size_t if_false) {
  return {static_cast<std::uint16_t>(BPF_JMP | how | BPF_K), static_cast<std::uint8_t>(if_true),
          static_cast<std::uint8_t>(if_false), value};
}
constexpr sock_filter answer(std::uint32_t action) {
  return {BPF_RET | BPF_K, 0, 0, action};
}
constexpr sock_filter fail(int number) {
  return answer(SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(number));
}
constexpr sock_filter allow = answer(SECCOMP_RET_ALLOW);

void append(Program& program, const Program& more) {
  program.insert(program.end(), more.begin(), more.end());
}

Program refuse_bits(unsigned argument, std::uint32_t bits) {
  return {load(offset_of(argument)), jump(BPF_JSET, bits, 1, 0), allow, fail(EPERM)};
}

/** Goes on where the loaded value is one of these, and ends with the error otherwise. */
Program one_of(const std::vector<int>& values, int error) {
  Program program;
  for (std::size_t i = 0; i < values.size(); ++i) {
    program.push_back(jump(BPF_JEQ, static_cast<std::uint32_t>(values[i]), values.size() - i, 0));
  }
  program.push_back(fail(error));
  return program;
}

/** The errors are those of a kernel that lacks the families and protocols. */
Program plain_socket() {
  Program netlink = {load(offset_of(2))};
  append(netlink, one_of({0 /* NETLINK_ROUTE */}, EPROTONOSUPPORT));
  netlink.push_back(allow);

  Program internet = {load(offset_of(1)), {BPF_ALU | BPF_AND | BPF_K, 0, 0, socket_type_bits}};
  append(internet, one_of({SOCK_STREAM, SOCK_DGRAM}, EPERM));
  internet.push_back(load(offset_of(2)));
  append(internet, one_of({0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6}, EPROTONOSUPPORT));
  internet.push_back(allow);

  Program program = {load(offset_of(0)), jump(BPF_JEQ, AF_UNIX, 0, 1), allow,
                     jump(BPF_JEQ, AF_NETLINK, 0, netlink.size())};
  append(program, netlink);
  append(program, one_of({AF_INET, AF_INET6}, EAFNOSUPPORT));
  append(program, internet);
  return program;
}

/** Ends with the answer for the call. */
Program body_of(const CallRule& call) {
  switch (call.rule) {
    case Rule::refused:
      return {fail(EPERM)};
    case Rule::absent:
      return {fail(ENOSYS)};
    case Rule::mode:
      return refuse_bits(call.argument, S_ISUID);
    case Rule::new_file_mode:
      return refuse_bits(call.argument, S_ISUID | S_ISGID);
    case Rule::open_mode: {
      Program program = {load(offset_of(call.argument - 1)), jump(BPF_JSET, O_CREAT | (O_TMPFILE & ~O_DIRECTORY), 1, 0),
                         allow};
      append(program, refuse_bits(call.argument, S_ISUID | S_ISGID));
      return program;
    }
    case Rule::same_namespaces:
      return refuse_bits(call.argument, new_namespaces);
    case Rule::plain_socket:
      return plain_socket();
  }
  return {fail(ENOSYS)};
}

Program calls_of(const std::vector<CallRule>& rules) {
  Program program = {load(offsetof(seccomp_data, nr))};
  for (const auto& rule : rules) {
    const auto body = body_of(rule);
    program.push_back(jump(BPF_JEQ, rule.number, 0, body.size()));
    append(program, body);
  }
  program.push_back(allow);
  return program;
}

/** For processes of this architecture. `program` is entered, and left for others, with the architecture loaded. */
void append_architecture(Program& program, std::uint32_t arch, const Program& calls) {
  // Too far for the 8 bits of a conditional jump.
  program.push_back(jump(BPF_JEQ, arch, 1, 0));
  program.push_back({BPF_JMP | BPF_JA, 0, 0, static_cast<std::uint32_t>(calls.size())});
  append(program, calls);
}

}  // namespace

std::vector<sock_filter> call_filter() {
  Program program = {load(offsetof(seccomp_data, arch))};
  auto native = calls_of(native_rules());
#if defined(__x86_64__)
  native.insert(native.begin() + 1, {jump(BPF_JGE, x32_bit, 0, 1), fail(ENOSYS)});
#endif
  append_architecture(program, native_arch, native);
#if defined(__x86_64__)
  append_architecture(program, AUDIT_ARCH_I386, calls_of(i386_rules()));
#endif
  program.push_back(fail(ENOSYS));
  return program;
}

}  // namespace hal::init
