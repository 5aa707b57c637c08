#include "hub_support.hpp"

#include "base/log.hpp"
#include "io/listener.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <utility>

namespace hal::hub::test {

using hal::test::run_until;

Json request(const Json& id, const std::string& method, const Json& params) {
  return {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}};
}

Json notification(const std::string& method, const Json& params) {
  return {{"jsonrpc", "2.0"}, {"method", method}, {"params", params}};
}

RelayPeer::RelayPeer(event::Loop& loop, UniqueFd socket) : loop_(loop) {
  io::LineChannel::Callbacks callbacks;
  callbacks.on_line = [this](std::string_view line) { lines.emplace_back(line); };
  callbacks.on_overlong = [](std::size_t) {};
  callbacks.on_closed = [this](const Error&) { closed = true; };
  channel_ = std::make_unique<io::LineChannel>(loop, std::move(socket), "test relay", std::move(callbacks));
}

void RelayPeer::send_raw(std::string_view line) {
  ASSERT_TRUE(channel_->write_line(line).has_value());
}

std::string RelayPeer::open(const std::string& server) {
  send({{"hal9000", 1}, {"server", server}});
  const auto answer = next();
  last_error = answer.value("error", "");
  return answer.value("session", "");
}

void RelayPeer::initialize(const std::string& server, const Json& capabilities) {
  EXPECT_NE(open(server), "") << last_error;
  send(request(0, "initialize",
               {{"protocolVersion", "2025-11-25"},
                {"capabilities", capabilities},
                {"clientInfo", {{"name", "test"}, {"version", "1"}}}}));
}

std::string RelayPeer::next_raw() {
  if (!run_until(loop_, [this] { return !lines.empty() || closed; }) || lines.empty()) {
    ADD_FAILURE() << "the hub sent nothing" << (closed ? " and closed" : "");
    return "{}";
  }
  auto line = std::move(lines.front());
  lines.pop_front();
  return line;
}

Json RelayPeer::ask(const Json& id, const std::string& method, const Json& params) {
  send(request(id, method, params));
  return next();
}

void RelayPeer::notify(const std::string& method, const Json& params) {
  send(notification(method, params));
}

FakeProcess::FakeProcess(event::Loop& loop, InstanceId instance_id, std::optional<std::string> session_id)
    : instance(instance_id), session(std::move(session_id)), loop_(loop) {
  auto in = hal::test::make_pipe();
  auto out = hal::test::make_pipe();
  to_server = std::move(in.write);
  from_server = std::move(out.read);
  raw_out_ = out.write.get();
  io::LineChannel::Callbacks callbacks;
  callbacks.on_line = [this](std::string_view line) { on_line(line); };
  callbacks.on_overlong = [](std::size_t) {};
  callbacks.on_closed = [this](const Error&) { closed = true; };
  channel_ = std::make_unique<io::LineChannel>(loop, std::move(in.read), std::move(out.write), "fake server",
                                               std::move(callbacks));
}

void FakeProcess::on_line(std::string_view line) {
  const auto message = Json::parse(line);
  const auto method = message.value("method", "");
  if (shakes_hands && method == "initialize") {
    ++handshakes;
    initialize_params = message["params"];
    Json result = {{"protocolVersion", revision},
                   {"capabilities", capabilities},
                   {"serverInfo", {{"name", "fake"}, {"version", "7"}}}};
    if (!instructions.empty()) {
      result["instructions"] = instructions;
    }
    return answer(message, result);
  }
  if (shakes_hands && method == "notifications/initialized") {
    ++initialized;
    return;
  }
  if (on_message) {
    return on_message(message);
  }
  lines.emplace_back(line);
}

void FakeProcess::send_raw(std::string_view line) {
  ASSERT_TRUE(channel_->write_line(line).has_value());
}

void FakeProcess::write_bytes(std::string_view bytes) {
  ASSERT_EQ(::write(raw_out_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

bool FakeProcess::try_write(std::string_view bytes) {
  return ::write(raw_out_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
}

void FakeProcess::answer(const Json& request, const Json& result) {
  send({{"jsonrpc", "2.0"}, {"id", request.at("id")}, {"result", result}});
}

std::string FakeProcess::next_raw() {
  if (!run_until(loop_, [this] { return !lines.empty() || closed; }) || lines.empty()) {
    ADD_FAILURE() << "the hub sent nothing" << (closed ? " and closed" : "");
    return "{}";
  }
  auto line = std::move(lines.front());
  lines.pop_front();
  return line;
}

Json FakeProcess::next() {
  return Json::parse(next_raw());
}

Json FakeProcess::next_of(const std::string& method) {
  for (;;) {
    auto message = next();
    if (message.empty() || message.value("method", "") == method) {
      return message;
    }
  }
}

HubTest::HubTest()
    : hub(std::make_unique<Hub>(loop, [this](link::ToDaemon message) { to_daemon.push_back(std::move(message)); })) {
  log::set_max_level(log::Level::error);
}

HubTest::~HubTest() = default;

void HubTest::add_worker(const std::string& id, const std::vector<std::string>& servers) {
  auto listener = io::listen_unix(folder / (id + ".sock"), SOCK_STREAM, 0600);
  ASSERT_TRUE(listener.has_value());
  hub->add_worker({{id}, 1000, servers, std::move(*listener)});
}

void HubTest::add_server(const std::string& name, link::ServerMode mode, const policy::ToolRules& tools) {
  link::ServerSet server;
  server.tools = tools;
  server.name = name;
  server.mode = mode;
  hub->set_server(server);
}

std::unique_ptr<RelayPeer> HubTest::connect(const std::string& worker) {
  auto socket = io::connect_unix(folder / (worker + ".sock"), SOCK_STREAM);
  EXPECT_TRUE(socket.has_value());
  return std::make_unique<RelayPeer>(loop, std::move(*socket));
}

FakeProcess& HubTest::start_process(const std::string& server) {
  EXPECT_TRUE(wait_told<link::InstanceRequest>(requests_served_ + 1));
  const auto requests = told<link::InstanceRequest>();
  std::optional<link::SessionId> session;
  if (requests.size() > requests_served_) {
    EXPECT_EQ(requests[requests_served_]->server, server);
    session = requests[requests_served_]->session;
  }
  ++requests_served_;
  processes.push_back(std::make_unique<FakeProcess>(loop, InstanceId{requests_served_},
                                                    session ? std::optional(session->value) : std::nullopt));
  auto& process = *processes.back();
  hub->attach({server, process.instance, session, std::move(process.to_server), std::move(process.from_server)});
  return process;
}

void HubTest::crash(FakeProcess& process, const std::string& server, const std::string& reason) {
  process.die();
  hub->gone({server, process.instance, reason});
}

}  // namespace hal::hub::test
