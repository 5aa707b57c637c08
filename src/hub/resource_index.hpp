#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hal::hub {

/**
 * Which server a resource belongs to, as far as their lists tell: URIs carry no server's name. Of several that list the
 * same one the first by name has it.
 */
class ResourceIndex {
 public:
  /** A URI from resources/list, or one that a server has answered for. */
  void add(std::string uri, const std::string& server);
  /** A URI template from resources/templates/list. */
  void add_template(std::string text, const std::string& server);
  /** Forgets what this server has told. */
  void remove(const std::string& server);

  /**
   * Whom to ask for it, one after the other: its server alone where that is known, else those with a template that
   * begins like it, the longest beginning first, then all others in the order of `servers`.
   */
  [[nodiscard]] std::vector<std::string> candidates(std::string_view uri,
                                                    const std::vector<std::string>& servers) const;
  [[nodiscard]] bool knows(std::string_view uri) const;

 private:
  struct Template {
    /** Up to the first expression. */
    std::string beginning;
    std::string server;
  };
  void put(std::string uri, const std::string& server);

  /** URIs and whole templates. */
  std::unordered_map<std::string, std::string> owners_;
  std::vector<Template> templates_;
};

}  // namespace hal::hub
