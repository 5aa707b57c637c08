#pragma once

#include "jsonrpc/envelope.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hal::remote {

/** What a server has been told that a new session of it has to be told again. */
class Memory {
 public:
  /** Of the client's initialize; forgets everything else. */
  void begin(std::string_view initialize_params);
  [[nodiscard]] const std::string& initialize_params() const { return initialize_params_; }

  /** What was agreed on then; empty before that. */
  void set_revision(std::string_view revision) { revision_ = revision; }
  [[nodiscard]] const std::string& revision() const { return revision_; }

  void set_initialized() { initialized_ = true; }
  [[nodiscard]] bool initialized() const { return initialized_; }

  /** A request of the client's on its way. */
  void on_request(const jsonrpc::Envelope& message);

  struct Told {
    std::string method;
    std::string params;
  };
  /** The log level and what is subscribed to. */
  [[nodiscard]] std::vector<Told> told() const;

 private:
  std::string initialize_params_;
  std::string revision_;
  bool initialized_ = false;
  std::string log_level_params_;
  /** By URI. */
  std::map<std::string, std::string> subscriptions_;
};

}  // namespace hal::remote
