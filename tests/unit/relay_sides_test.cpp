#include "relay/client_side.hpp"
#include "relay/gateway_side.hpp"
#include "relay/greeting.hpp"

#include <string>

#include <gtest/gtest.h>

namespace hal::relay {
namespace {

std::string request(const std::string& id, const std::string& method = "tools/call") {
  return "{\"jsonrpc\":\"2.0\",\"id\":" + id + ",\"method\":\"" + method + "\"}\n";
}

Line response(const std::string& id) {
  Line line;
  line.id = id;
  line.has_outcome = true;
  return line;
}

/** Sends all that waits. */
std::string send_all(ClientSide& client) {
  const std::string bytes(client.next());
  client.sent(bytes.size());
  return bytes;
}

std::string lost(ClientSide& client) {
  std::string answers;
  client.connection_lost(answers);
  return answers;
}

TEST(ClientSide, answers_what_is_in_flight_with_the_clients_own_ids) {
  ClientSide client;
  std::string expected;
  for (const char* id : {"\"x\"", "0", "-1", "1e3", "\"5\"", "\"\\u0041\\\"\""}) {
    client.append(request(id));
    expected += std::string("{\"jsonrpc\":\"2.0\",\"id\":") + id +
                ",\"error\":{\"code\":-32603,\"message\":\"gateway restarted; the call may or may not have run\"}}\n";
  }
  client.append(request("5") + request("6") + "{\"method\":\"n\"}\n");
  send_all(client);
  client.answered(response("5"));  // not "5"
  client.answered(response("6"));
  EXPECT_FALSE(client.idle());
  EXPECT_EQ(lost(client), expected);
  EXPECT_TRUE(client.idle());
  EXPECT_EQ(lost(client), "");
}

TEST(ClientSide, what_changes_nothing_is_sent_again_until_it_is_answered) {
  ClientSide client;
  const auto ping = request("1", "ping");
  const auto list = request("2", "tools/list");
  const auto cut = request("5", "prompts/list");
  client.append(ping + request("3") + list + request("4", "resources/list") + request("6", "tools/list_all") + cut);
  (void)client.next();
  client.sent(client.next().size() - 3);
  EXPECT_EQ(client.repeats(), ping + list + request("4", "resources/list"));
  client.answered(response("4"));
  EXPECT_EQ(lost(client), lost_answer("3") + lost_answer("6"));
  EXPECT_EQ(lost(client), "") << "a second break before all of it was sent";
  EXPECT_EQ(client.repeats(), ping + list);
  EXPECT_EQ(send_all(client), cut) << "what was cut is sent as it is";
  client.append("{\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":2}}\n");
  send_all(client);
  client.answered(response("1"));
  EXPECT_EQ(client.repeats(), cut);
  const std::string padding(max_repeated_bytes, ' ');
  client.append("{\"method\":\"ping\",\"id\":7" + padding + "}\n");
  send_all(client);
  EXPECT_EQ(lost(client), lost_answer("7")) << "too long to be kept";
}

TEST(ClientSide, a_cancelled_request_is_no_longer_waited_for) {
  ClientSide client;
  client.append(request("1") + request("2"));
  client.append("{\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n");
  send_all(client);
  EXPECT_EQ(lost(client), lost_answer("2"));
}

TEST(ClientSide, what_was_not_sent_is_not_in_flight_and_is_sent_later) {
  ClientSide client;
  client.append(request("1") + request("2"));
  client.sent(request("1").size());
  EXPECT_EQ(lost(client), lost_answer("1"));
  EXPECT_EQ(client.next(), request("2"));
}

TEST(ClientSide, a_line_cut_by_the_break_is_sent_again_whole) {
  const std::string line = request("\"cut\"");
  for (std::size_t cut = 1; cut < line.size(); ++cut) {
    ClientSide client;
    client.append(line + request("2"));
    client.sent(cut);
    EXPECT_EQ(lost(client), "") << cut;
    EXPECT_EQ(client.next(), line + request("2")) << cut;
    send_all(client);
    EXPECT_EQ(lost(client), lost_answer("\"cut\"") + lost_answer("2")) << cut;
  }
}

TEST(ClientSide, a_cut_line_too_long_to_keep_is_dropped_to_its_end_and_answered) {
  ClientSide client;
  std::string line = request("7");
  line.insert(line.size() - 2, ",\"params\":\"" + std::string(3 * max_kept_line_bytes, 'x') + "\"");
  const std::size_t cut = 2 * max_kept_line_bytes;
  client.append(std::string_view(line).substr(0, cut));
  send_all(client);
  EXPECT_EQ(lost(client), "");
  EXPECT_EQ(client.next(), "");
  client.append(line.substr(cut) + request("8"));
  EXPECT_EQ(client.next(), request("8"));
  EXPECT_EQ(client.take_answers(), lost_answer("7"));
  EXPECT_EQ(client.take_answers(), "");
}

TEST(ClientSide, keeps_the_handshake) {
  ClientSide client;
  const std::string initialize = request("0", "initialize");
  const std::string initialized = "{\"method\":\"notifications/initialized\"}\n";
  client.append(initialize.substr(0, 10));
  send_all(client);
  client.append(initialize.substr(10));
  send_all(client);
  EXPECT_EQ(client.initialize(), initialize);
  EXPECT_EQ(client.initialize_id(), "0");
  EXPECT_TRUE(client.initialize_in_flight());
  EXPECT_EQ(lost(client), "") << "the initialize is sent again instead";
  client.answered(response("0"));
  EXPECT_FALSE(client.initialize_in_flight());
  client.append(initialized + request("1"));
  send_all(client);
  EXPECT_EQ(client.initialized(), initialized);
  EXPECT_FALSE(client.handshake_lost());
}

TEST(ClientSide, a_handshake_too_long_to_keep_is_known_to_be_lost) {
  ClientSide client;
  std::string line = request("0", "initialize");
  line.insert(line.size() - 2, ",\"params\":\"" + std::string(max_kept_line_bytes, 'x') + "\"");
  client.append(line);
  send_all(client);
  EXPECT_TRUE(client.handshake_lost());
}

TEST(ClientSide, stops_wanting_when_full) {
  ClientSide client;
  client.append(std::string(buffer_bytes, 'x'));
  EXPECT_FALSE(client.wants());
  client.sent(1);
  EXPECT_TRUE(client.wants());
}

const GatewaySide::OnLine deliver_all = [](const Line&) { return GatewaySide::Verdict::deliver; };

std::string write_all(GatewaySide& gateway) {
  std::string bytes(gateway.next());
  gateway.written(bytes.size());
  return bytes;
}

TEST(GatewaySide, gives_out_whole_lines_in_any_pieces) {
  const std::string text = "{\"id\":1,\"result\":{}}\n\nnot json\r\n" + request("4");
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    GatewaySide gateway;
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      gateway.append(std::string_view(text).substr(at, piece), deliver_all);
      out += write_all(gateway);
      EXPECT_TRUE(out.empty() || out.back() == '\n');
    }
    EXPECT_EQ(out, text);
  }
}

TEST(GatewaySide, a_line_cut_by_the_break_leaves_no_trace) {
  GatewaySide gateway;
  gateway.append("{\"id\":1,\"result\":{}}\n{\"id\":2,\"res", deliver_all);
  gateway.connection_lost();
  gateway.add("ours\n");
  gateway.append("{\"id\":3}\n", deliver_all);
  EXPECT_EQ(write_all(gateway), "{\"id\":1,\"result\":{}}\nours\n{\"id\":3}\n");
}

TEST(GatewaySide, a_long_line_flows_and_ends_with_a_newline_at_the_break) {
  GatewaySide gateway;
  const std::string begin = "{\"result\":\"" + std::string(2 * buffer_bytes, 'x');
  gateway.append(begin, deliver_all);
  std::string out = write_all(gateway);
  EXPECT_EQ(out, begin);
  EXPECT_TRUE(gateway.wants());
  gateway.add("ours\n");
  EXPECT_EQ(gateway.next(), "") << "not in the middle of a line";
  gateway.connection_lost();
  EXPECT_EQ(write_all(gateway), "\nours\n");
  gateway.append(begin, deliver_all);
  gateway.add("more\n");
  gateway.append("\"}\n{}\n", deliver_all);
  EXPECT_EQ(write_all(gateway), begin + "\"}\nmore\n{}\n");
}

TEST(GatewaySide, swallows_what_it_is_told_to) {
  GatewaySide gateway;
  const auto swallow_one = [](const Line& line) {
    return line.id == "1" ? GatewaySide::Verdict::swallow : GatewaySide::Verdict::deliver;
  };
  gateway.append("{\"id\":0,\"result\":1}\n{\"id\":1,\"res", swallow_one);
  gateway.append("ult\":1}\n{\"id\":2,\"result\":1}\n", swallow_one);
  EXPECT_EQ(write_all(gateway), "{\"id\":0,\"result\":1}\n{\"id\":2,\"result\":1}\n");
}

TEST(Greeting, lines_both_ways) {
  EXPECT_EQ(opening_line("memory", ""), "{\"hal9000\":1,\"server\":\"memory\"}\n");
  EXPECT_EQ(opening_line("memory", "s\"1"), "{\"hal9000\":1,\"resume\":\"s\\\"1\",\"server\":\"memory\"}\n");
  const auto good = parse_answer("{\"hal9000\":1,\"session\":\"s1\"}");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->session, "s1");
  const auto bad = parse_answer("{\"hal9000\":1,\"error\":\"no such server\"}");
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->error, "no such server");
  for (const char* line : {"", "{}", "[]", "{\"hal9000\":2,\"session\":\"s\"}", "{\"hal9000\":1}", "{\"hal9000\":1,",
                           "{\"hal9000\":1,\"session\":\"s\",\"error\":\"e\"}", "{\"hal9000\":1,\"session\":7}"}) {
    EXPECT_FALSE(parse_answer(line)) << line;
  }
}

TEST(Sides, give_back_the_memory_of_large_lines_and_lose_nothing) {
  const std::string large = "{\"text\":\"" + std::string(max_kept_line_bytes - 64, 'x') + "\"}\n";
  const std::string cut = request("\"cut\"");
  ClientSide client;
  client.append(large);
  send_all(client);
  client.append(cut + request("2"));
  client.sent(5);
  EXPECT_TRUE(client.holds_much());
  client.give_back();
  EXPECT_FALSE(client.holds_much());
  EXPECT_EQ(client.next(), cut.substr(5) + request("2"));
  EXPECT_EQ(lost(client), "");
  EXPECT_EQ(client.next(), cut + request("2"));

  GatewaySide gateway;
  const auto deliver = [](const Line&) { return GatewaySide::Verdict::deliver; };
  gateway.append(large + cut + "{\"beg", deliver);
  gateway.written(large.size() + 5);
  EXPECT_TRUE(gateway.holds_much());
  gateway.give_back();
  EXPECT_FALSE(gateway.holds_much());
  EXPECT_EQ(gateway.next(), cut.substr(5));
  gateway.written(cut.size() - 5);
  gateway.append("in\":1}\n", deliver);
  EXPECT_EQ(gateway.next(), "{\"begin\":1}\n");
}

}  // namespace
}  // namespace hal::relay
