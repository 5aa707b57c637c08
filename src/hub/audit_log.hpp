#pragma once

#include "event/sources.hpp"
#include "link/messages.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hal::hub {

/** Whose calls they are: one for all of a client's at a server. */
struct AuditSubject {
  /** Empty: the daemon. */
  std::string worker;
  std::uint32_t owner = 0;
  std::string server;
  std::string session;
};

/** One tools/call as the audit tells of it. */
struct AuditEntry {
  std::shared_ptr<const AuditSubject> subject;
  std::string tool;
  /** As audit_arguments() gives them. */
  std::string arguments;
  /** "ok", "tool-error" (a result with isError), "error", "refused", "cancelled" or "gone" (the client left). */
  std::string_view outcome;
  std::chrono::microseconds duration{0};

  /** Of a call that is open; whose it is knows its account. */
  template <class Archive>
  void keep(Archive& archive) {
    archive(tool, arguments);
  }
};

/** What a line has of a call's arguments: "sha256:…", with ":BYTES" where only the beginning was hashed; or the text
 * itself, of at most 4 KiB. Empty without arguments. */
[[nodiscard]] std::string audit_arguments(link::Audit audit, std::string_view arguments);

/** Writes the lines when the loop has nothing better to do: no answer waits for the journal. */
class AuditLog {
 public:
  explicit AuditLog(event::Loop& loop);
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  void add(AuditEntry entry);

 private:
  void flush();

  std::vector<AuditEntry> entries_;
  event::Defer flush_;
};

}  // namespace hal::hub
