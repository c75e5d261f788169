{% extends "base.qml" %}
{% import "parts.qml" as parts %}
{% block look %}
  <renderer-v2 type="categorizedSymbol" attr="cause" symbollevels="0" enableorderby="0" forceraster="0">
    <categories>
{% for cause in causes %}
      <category value="{{ cause }}" label="{{ cause }}" symbol="{{ loop.index0 }}" render="true" type="string"/>
{% endfor %}
    </categories>
    <symbols>
{% for cause, (color, angle, distance) in causes.items() %}
      <symbol name="{{ loop.index0 }}" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">
{{ parts.driven({"alpha": "if(\"cause\" = 'haze', 60, 100 - 70 * \"observed\")"}) }}
        <layer class="LinePatternFill" enabled="1" locked="0" pass="0">
{{ parts.option({"angle": angle, "distance": distance, "distance_unit": "MM", "line_width": "0.26", "color": color + ",255", "outline_width_unit": "MM"}) }}
          <symbol name="@{{ loop.index0 }}@0" type="line" alpha="1" clip_to_extent="1" force_rhr="0">
            <layer class="SimpleLine" enabled="1" locked="0" pass="0">
{{ parts.option({"line_color": color + ",255", "line_style": "solid", "line_width": "0.3", "line_width_unit": "MM"}) }}
            </layer>
          </symbol>
        </layer>
{{ parts.fill({"style": "no", "outline_color": color + ",255", "outline_style": "solid", "outline_width": "0.3"}) }}
      </symbol>
{% endfor %}
    </symbols>
  </renderer-v2>
{% endblock %}
{% block tip %}
<b>Not seen well: [% "cause" %]</b><br>
[% format_number("area_ha", 1) %] ha, [% "n_chips" %] chip[% if("n_chips" = 1, '', 's') %]; [% format_number(100 * "observed", 0) %] % of it was observed<br>
[% coalesce(nullif({{ safe("failure") }}, '') || '<br>', '') %]
[% {{ safe("scene") }} %]
{% endblock %}
