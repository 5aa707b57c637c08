#pragma once

#include "hub/aggregate_hello.hpp"
#include "hub/member_names.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hal::hub {

/** Where a list goes on: servers and their own cursors (JSON text, empty for the first page). */
using ListPlaces = std::map<std::string, std::string>;

/** A list of several servers while it is being put together. */
class MergedList {
 public:
  using Clock = std::chrono::steady_clock;

  MergedList(List list, std::string id, ListPlaces places, Clock::time_point deadline);

  [[nodiscard]] List list() const { return list_; }
  /** Of the client's request, as it spelled it; empty for a list of our own. */
  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] Clock::time_point deadline() const { return deadline_; }
  /** It is none that goes on under a cursor. */
  [[nodiscard]] bool from_start() const { return from_start_; }

  /** Whether a page of this server is needed that has not been asked for. */
  [[nodiscard]] bool wants(const std::string& server) const;
  void asked(const std::string& server);
  /** Params of the request for it. */
  [[nodiscard]] std::string params(const std::string& server) const;
  /** Its page has come. False: it does not fit, and the server is left out. */
  [[nodiscard]] bool add(const std::string& server, const MemberPage& page);
  /** It has nothing, or nothing any more. */
  void leave_out(const std::string& server);
  /** What it has not answered yet is not waited for; pages it has promised follow under a cursor. */
  void wait_no_more();
  /** Those that have not answered. */
  [[nodiscard]] std::vector<std::string> missing() const;
  [[nodiscard]] bool complete() const;

  /** JSON text of the result, without the cursor. */
  [[nodiscard]] std::string take_result(const std::string& cursor);
  /** What is to follow under a cursor. */
  [[nodiscard]] ListPlaces rest() const;

 private:
  struct Part {
    std::string cursor;
    std::string elements;
    bool waiting = true;
    bool asked = false;
    bool more = false;
    std::size_t pages = 0;
  };

  List list_;
  std::string id_;
  Clock::time_point deadline_;
  bool from_start_ = true;
  std::map<std::string, Part> parts_;
  std::size_t bytes_ = 0;
};

/** Cursors that a session has been given; good for more than one use, until too many others have followed. */
class Cursors {
 public:
  /** The cursor's text. */
  [[nodiscard]] std::string add(List list, ListPlaces places);
  [[nodiscard]] std::optional<ListPlaces> find(List list, const std::string& cursor) const;

 private:
  struct Entry {
    std::string text;
    List list;
    ListPlaces places;
  };
  std::deque<Entry> entries_;
  std::uint64_t next_ = 1;
};

}  // namespace hal::hub
