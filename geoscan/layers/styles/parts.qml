{% macro option(values) %}
<Option type="Map">
{% for name, value in values.items() %}
  <Option name="{{ name }}" type="QString" value="{{ value }}"/>
{% endfor %}
</Option>
{%- endmacro %}
{% macro driven(values) %}
<data_defined_properties>
  <Option type="Map">
    <Option name="name" type="QString" value=""/>
    <Option name="properties" type="Map">
{% for name, expression in values.items() %}
      <Option name="{{ name }}" type="Map">
        <Option name="active" type="bool" value="true"/>
        <Option name="expression" type="QString" value="{{ expression }}"/>
        <Option name="type" type="int" value="3"/>
      </Option>
{% endfor %}
    </Option>
    <Option name="type" type="QString" value="collection"/>
  </Option>
</data_defined_properties>
{%- endmacro %}
{% macro fill(values, by={}) %}
<layer class="SimpleFill" enabled="1" locked="0" pass="0">
{{ option({"outline_width_unit": "MM", "joinstyle": "miter"} | combined(values)) }}
{{ driven(by) }}
</layer>
{%- endmacro %}
