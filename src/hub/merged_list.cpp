#include "hub/merged_list.hpp"

#include "hub/hub_limits.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace hal::hub {

MergedList::MergedList(List list, std::string id, ListPlaces places, Clock::time_point deadline)
    : list_(list), id_(std::move(id)), deadline_(deadline) {
  for (auto& [server, cursor] : places) {
    from_start_ = from_start_ && cursor.empty();
    parts_[server].cursor = std::move(cursor);
  }
}

bool MergedList::wants(const std::string& server) const {
  const auto part = parts_.find(server);
  return part != parts_.end() && part->second.waiting && !part->second.asked;
}

void MergedList::asked(const std::string& server) {
  parts_.at(server).asked = true;
}

std::string MergedList::params(const std::string& server) const {
  const auto& cursor = parts_.at(server).cursor;
  return cursor.empty() ? "{}" : fmt::format(R"({{"cursor":{}}})", cursor);
}

bool MergedList::add(const std::string& server, const MemberPage& page) {
  const auto found = parts_.find(server);
  if (found == parts_.end()) {
    return true;
  }
  auto& part = found->second;
  if (page.elements.size() > limits::list_page_bytes || bytes_ + page.elements.size() > limits::merged_list_bytes) {
    parts_.erase(found);
    return false;
  }
  bytes_ += page.elements.size();
  if (!part.elements.empty() && !page.elements.empty()) {
    part.elements += ',';
  }
  part.elements += page.elements;
  part.more = !page.next.empty() && page.next != part.cursor;
  part.cursor = page.next;
  part.asked = false;
  part.waiting = part.more && bytes_ < limits::list_bytes && ++part.pages < limits::list_pages;
  return true;
}

void MergedList::leave_out(const std::string& server) {
  if (const auto part = parts_.find(server); part != parts_.end()) {
    part->second.waiting = part->second.more = false;
  }
}

void MergedList::wait_no_more() {
  for (auto& [server, part] : parts_) {
    part.waiting = false;
  }
}

std::vector<std::string> MergedList::missing() const {
  std::vector<std::string> names;
  for (const auto& [server, part] : parts_) {
    if (part.waiting) {
      names.push_back(server);
    }
  }
  return names;
}

bool MergedList::complete() const {
  return std::none_of(parts_.begin(), parts_.end(), [](const auto& entry) { return entry.second.waiting; });
}

ListPlaces MergedList::rest() const {
  ListPlaces places;
  for (const auto& [server, part] : parts_) {
    if (part.more) {
      places.emplace(server, part.cursor);
    }
  }
  return places;
}

std::string MergedList::take_result(const std::string& cursor) {
  auto result = fmt::format(R"({{"{}":[)", spec_of(list_).key);
  bool first = true;
  for (auto& [server, part] : parts_) {
    if (!part.elements.empty()) {
      result += first ? "" : ",";
      result += part.elements;
      std::string().swap(part.elements);
      first = false;
    }
  }
  result += cursor.empty() ? "]}" : fmt::format(R"(],"nextCursor":"{}"}})", cursor);
  return result;
}

std::string Cursors::add(List list, ListPlaces places) {
  auto text = fmt::format("hal9000-{}", next_++);
  entries_.push_back({text, list, std::move(places)});
  if (entries_.size() > limits::cursors_per_session) {
    entries_.pop_front();
  }
  return text;
}

std::optional<ListPlaces> Cursors::find(List list, const std::string& cursor) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.list == list && entry.text == cursor; });
  return found != entries_.end() ? std::optional(found->places) : std::nullopt;
}

}  // namespace hal::hub
