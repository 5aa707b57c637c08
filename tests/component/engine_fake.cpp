#include "component/engine_fake.hpp"

#include <fmt/format.h>

namespace hal::engine {

using namespace std::chrono_literals;
using test::http;

namespace {

/** "POST /v1.41/containers/x/start?t=1" -> "POST /containers/x/start"; the events of images are "GET /events image". */
std::string kind_of(const std::string& request) {
  const auto blank = request.find(' ');
  auto path = request.substr(blank + 1, request.find('?') - blank - 1);
  if (path.starts_with("/v1.") || path.starts_with("/v2.")) {
    path.erase(0, path.find('/', 1));
  }
  const bool image = path == "/events" && request.find("image") != std::string::npos;
  return request.substr(0, blank + 1) + path + (image ? " image" : "");
}

}  // namespace

FakeEngine::FakeEngine()
    : server_(loop_, dir_ / "engine", [this](const auto& request, const auto& connection) {
        const auto found = answers_.find(kind_of(request.method + " " + request.target));
        if (found != answers_.end()) {
          found->second(request, connection);
        } else {
          connection->send(http(404, R"({"message":"page not found"})"));
        }
      }) {
  on("GET /_ping", http(200, "OK"));
  on("GET /version", [this](const auto&, const auto& connection) {
    connection->send(
        http(200, fmt::format(R"({{"Version":"20.10","ApiVersion":"{}","MinAPIVersion":"1.12"}})", api_version_)));
  });
  on("GET /info", http(200, R"({"CgroupDriver":"cgroupfs","CgroupVersion":"2","Driver":"overlay2"})"));
  on("GET /events", [this](const auto&, const auto& connection) {
    event_stream_ = connection;
    connection->send(test::http_chunked());
  });
  on("GET /events image", [this](const auto&, const auto& connection) {
    image_stream_ = connection;
    connection->send(test::http_chunked());
  });
  on("GET /containers/c1/json", http(200, R"({"Id":"c1","State":{"Status":"running","Pid":1}})"));
  options_.socket = server_.path();
  options_.instance = "me";
  options_.backoff_min = 10ms;
  options_.backoff_max = 40ms;
}

FakeEngine::~FakeEngine() = default;

void FakeEngine::on(const std::string& what, std::string bytes) {
  on(what, [bytes = std::move(bytes)](const auto&, const auto& connection) { connection->send(bytes); });
}

void FakeEngine::start(bool up) {
  client_ = std::make_unique<Client>(loop_, options_);
  client_->set_listener(this);
  if (up) {
    ASSERT_TRUE(wait_up()) << reason_.message;
  }
}

bool FakeEngine::wait(const std::function<bool()>& predicate) {
  return test::run_until(loop_, predicate, 30s);
}

bool FakeEngine::wait_up(int times) {
  return wait([&] { return ups_ >= times; });
}

bool FakeEngine::wait_down(int times) {
  return wait([&] { return downs_ >= times; });
}

int FakeEngine::count(const std::string& what) const {
  int number = 0;
  for (const auto& request : server_.seen()) {
    number += kind_of(request) == what ? 1 : 0;
  }
  return number;
}

void FakeEngine::emit(std::string_view bytes) {
  event_stream_->send(test::chunk(bytes));
}

std::string FakeEngine::event(const std::string& action, const std::string& id) {
  return fmt::format(R"({{"Type":"container","Action":"{}","Actor":{{"ID":"{}"}}}})", action, id) + "\n";
}

void FakeEngine::on_engine_up(const worker::EngineInfo& info) {
  ++ups_;
  EXPECT_FALSE(info.api_version.empty());
  if (inside_up_) {
    inside_up_();
  }
}

void FakeEngine::on_engine_down(const Error& reason) {
  ++downs_;
  reason_ = reason;
  if (inside_down_) {
    inside_down_();
  }
}

void FakeEngine::on_image_event() {
  ++image_events_;
}

void FakeEngine::on_container_event(const worker::ContainerEvent& event) {
  events_.emplace_back(event.kind, event.id.value);
  if (inside_event_) {
    inside_event_();
  }
}

}  // namespace hal::engine
